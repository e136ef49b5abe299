package primary

import (
	"fmt"
	"strings"
	"testing"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/nodejs"
	"github.com/muster-run/muster/spec"
)

func TestMatching(t *testing.T) {
	offered := func(key ...string) (list []Offered) {
		for i := 0; i < len(key); i += 2 {
			list = append(list, Offered{Spec: spec.Listener{Network: key[i], Address: key[i+1]}, Addr: key[i+1]})
		}
		return list
	}
	all := offered("tcp", "[::]:80", "tcp", "127.0.0.1:80", "unix", "/s", "udp4", "0.0.0.0:53", "tcp4", "0.0.0.0:81", "tcp6", "[::]:82",
		"tcp", "10.0.0.1:83", "tcp", "10.0.0.2:84", "tcp", "10.0.0.3:84")
	for _, c := range []struct {
		q    nodejs.Query
		want string
	}{
		{nodejs.Query{Port: 80, Type: "4"}, "[::]:80"},
		{nodejs.Query{Address: "::", Port: 80, Type: "6"}, "[::]:80"},
		{nodejs.Query{Address: "127.0.0.1", Port: 80, Type: "4"}, "127.0.0.1:80"},
		{nodejs.Query{Address: "127.0.0.2", Port: 80, Type: "4"}, "[::]:80"},
		{nodejs.Query{Address: "::1", Port: 80, Type: "6"}, "[::]:80"},
		{nodejs.Query{Address: "::1", Port: 81, Type: "6"}, ""},
		{nodejs.Query{Address: "127.0.0.1", Port: 81, Type: "4"}, "0.0.0.0:81"},
		{nodejs.Query{Address: "127.0.0.1", Port: 82, Type: "4"}, ""},
		{nodejs.Query{Port: 83, Type: "4"}, "10.0.0.1:83"},
		{nodejs.Query{Address: "10.0.0.9", Port: 83, Type: "4"}, ""},
		{nodejs.Query{Port: 84, Type: "4"}, ""},
		{nodejs.Query{Address: "10.0.0.3", Port: 84, Type: "4"}, "10.0.0.3:84"},
		{nodejs.Query{Port: 0, Type: "4"}, ""},
		{nodejs.Query{Port: 99, Type: "4"}, ""},
		{nodejs.Query{Address: "/s", Port: -1, Type: path}, "/s"},
		{nodejs.Query{Address: "/other", Port: -1, Type: path}, ""},
		{nodejs.Query{Address: "0.0.0.0", Port: 53, Type: "udp4"}, "0.0.0.0:53"},
		{nodejs.Query{Port: 53, Type: "4"}, ""},
		{nodejs.Query{Address: "no ip", Port: 80, Type: "4"}, ""},
	} {
		got := ""
		if o := matching(c.q, all); o != nil {
			got = o.Addr
		}
		if got != c.want {
			t.Errorf("%+v: %q, want %q", c.q, got, c.want)
		}
	}
}

// The index tells apart only what the system chooses.
func TestKeys(t *testing.T) {
	a, b := nodejs.Query{Port: 80, Type: "4"}, nodejs.Query{Port: 80, Type: "4", Index: 1}
	if keyOf(a) != keyOf(b) {
		t.Error(keyOf(a), keyOf(b))
	}
	a.Port, b.Port = 0, 0
	if keyOf(a) == keyOf(b) {
		t.Error(keyOf(a))
	}
}

// A worker that asks for listeners without end gets no more than there may be, is told
// why, and warned of once; one that it closes makes room.
func TestListenersWithoutEnd(t *testing.T) {
	l := newLab(t, "node", spec.BalanceRoundRobin)
	w, theirs := l.mute(0)
	ask := func(i int) string {
		write(t, theirs, fmt.Sprintf(`{"cmd":"NODE_CLUSTER","act":"queryServer","index":%d,"address":"127.0.0.1","port":0,"addressType":4,"seq":%d}`, i, i))
		return line(t, theirs)
	}
	for i := range maxAsked {
		if got := ask(i); !strings.Contains(got, `"errno":0`) {
			t.Fatalf("%d: %s", i, got)
		}
	}
	for range 2 {
		if got := ask(maxAsked); !strings.Contains(got, `"errno":-24`) {
			t.Errorf("one more: %s", got)
		}
	}
	if n := len(l.warnings(fault.Bind)); n != 1 {
		t.Errorf("%d warnings: %v", n, l.warned)
	}
	write(t, theirs, `{"cmd":"NODE_CLUSTER","act":"close","key":"127.0.0.1:0:4:7","seq":999}`)
	if got := ask(maxAsked + 1); !strings.Contains(got, `"errno":0`) {
		t.Errorf("after a close: %s", got)
	}
	for i := range 40 {
		ask(maxAsked + 2 + i)
	}
	if n := len(l.warnings(fault.Bind)); n != tellMax {
		t.Errorf("%d warnings of 41 failures: %v", n, l.warned)
	}
	if odd := l.warnings(fault.NodeFrame); len(odd) > 0 || w.facts().Gone {
		t.Errorf("%v", odd)
	}
}
