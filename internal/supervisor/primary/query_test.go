package primary

import (
	"testing"

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
