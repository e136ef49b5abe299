package listener

import (
	"net"
	"testing"
)

// A worker that is busy with connections all the time is never seen waiting, as
// gunicorn's sync worker in a reload under load; what it holds tells. One that
// holds the socket and no connection of it does not accept.
func TestAcceptingBusyProgram(t *testing.T) {
	for _, tc := range []struct{ network, address string }{
		{"tcp", "127.0.0.1:0"}, {"tcp", ":0"}, {"tcp", "[::1]:0"}, {"unix", ""},
	} {
		t.Run(tc.network+" "+tc.address, func(t *testing.T) {
			if tc.network == "unix" {
				tc.address = t.TempDir() + "/s"
			}
			f := bound(t, tc.network, tc.address)
			l, err := net.FileListener(f)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			busy := python(t, fromFD+"s.setblocking(True)\nprint('up'); c, _ = s.accept(); print('busy')\nwhile True: pass", f)
			deaf := python(t, fromFD+"print('up')\nwhile True: pass", f)
			c, err := net.Dial(tc.network, l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if got := busy.line(t); got != "busy" {
				t.Fatal(got)
			}
			inode := []uint64{inodeOf(t, f)}
			if got := Accepting([]int{busy.pid}, inode); got != Yes {
				t.Errorf("a busy program: %v", got)
			}
			if got := Accepting([]int{deaf.pid}, inode); got != No {
				t.Errorf("a deaf program: %v", got)
			}
		})
	}
}
