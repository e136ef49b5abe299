package listener

import (
	"net"
	"strings"
	"testing"
	"time"
)

// Of a group's address all is told that waits, of each family, and nothing of others.
func TestWaits(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0", ":0"} {
		files := group(t, tcpAt(address), 2)
		to := strings.Replace(Addr(files[0]), "[::]", "127.0.0.1", 1)
		dial(t, to, 3)
		if host, port, _ := net.SplitHostPort(to); address != ":0" {
			other := "127.0.0.2"
			if host == "::1" {
				other = "127.0.0.1"
			}
			if f, err := Bind(tcpAt(net.JoinHostPort(other, port))); err == nil {
				defer f.Close()
				dial(t, Addr(f), 1)
			}
		}
		eventually(t, "they are old", func() bool {
			waits, err := Waits(files[1])
			if err != nil || len(waits) > 3 {
				t.Fatalf("%v, %v", waits, err)
			}
			old := 0
			for _, age := range waits {
				if age >= 50*time.Millisecond {
					old++
				}
			}
			return old == 3
		})
		if counts := takenBy(t, files, 3); sum(counts) != 3 {
			t.Errorf("%v", counts)
		}
		if waits, err := Waits(files[0]); err != nil || len(waits) != 0 {
			t.Errorf("all are accepted: %v, %v", waits, err)
		}
	}
	if _, err := Waits(bound(t, "unix", t.TempDir()+"/s")); err == nil {
		t.Error("a UNIX socket has no such queue")
	}
}
