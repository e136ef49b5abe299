package load

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// until polls a condition; it fails the test after 10 s.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline:
			t.Fatalf("not within 10 s: %s", what)
		case <-tick.C:
		}
	}
}

// lossy is a server that treats every connection in one wrong way, after it has
// read the request; it answers well when way is nil.
func lossy(t *testing.T, way func(c *net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				stop := context.AfterFunc(ctx, func() { c.Close() })
				defer stop()
				in := bufio.NewReader(c)
				if _, err := http.ReadRequest(in); err == nil {
					way(c.(*net.TCPConn))
				}
			}()
		}
	}()
	return l.Addr().String()
}

func TestEveryLossIsCounted(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	closed.Close()

	answer := func(head, body string) func(*net.TCPConn) {
		return func(c *net.TCPConn) {
			fmt.Fprintf(c, "HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s", head, len(body), body)
		}
	}
	cases := []struct {
		kind Kind
		addr string
	}{
		{Refused, nobody},
		{Reset, lossy(t, func(c *net.TCPConn) { _ = c.SetLinger(0) })},
		{EOF, lossy(t, func(*net.TCPConn) {})},
		{EOF, lossy(t, func(c *net.TCPConn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Le") })},
		{EOF, lossy(t, func(c *net.TCPConn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nrelease=1") })},
		{Status, lossy(t, answer("503 Busy", "release=1 pid=2"))},
		{Garbled, lossy(t, answer("200 OK", "hello"))},
		{Hung, lossy(t, func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 1)) })},
	}
	for i, tc := range cases {
		t.Run(fmt.Sprintf("%s-%d", tc.kind, i), func(t *testing.T) {
			run := Start(Options{Addr: tc.addr, Fresh: 1, Kept: 1, Timeout: 100 * time.Millisecond})
			until(t, "both clients lost two requests", func() bool {
				r := run.Report()
				return r.Fresh.Lost[tc.kind] >= 2 && r.Kept.Lost[tc.kind] >= 2
			})
			if r := run.Stop(); r.Lost() != r.Of(tc.kind) || r.Answers() != 0 {
				t.Errorf("want only %s, got %v", tc.kind, r)
			}
		})
	}
}

// A kept client must not hide that the server closed an idle connection.
func TestIdleConnectionClosedBehindOurBackIsLost(t *testing.T) {
	addr := lossy(t, func(c *net.TCPConn) {
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\nrelease=1 pid=2")
	})
	run := Start(Options{Addr: addr, Kept: 1})
	until(t, "losses", func() bool { return run.Report().Lost() > 3 })
	if r := run.Stop(); r.Kept.Answers == 0 || r.Of(EOF)+r.Of(Reset) != r.Lost() {
		t.Errorf("want answers and closed connections in turn, got %v", r)
	}
}

func TestConnectionCloseIsNoLoss(t *testing.T) {
	addr := lossy(t, func(c *net.TCPConn) {
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 15\r\n\r\nrelease=1 pid=2")
	})
	run := Start(Options{Addr: addr, Kept: 2, Fresh: 2})
	until(t, "answers", func() bool { return run.Report().Answers() > 20 })
	if r := run.Stop(); r.Lost() != 0 {
		t.Error(r)
	}
}

func TestAGoodServerLosesNothing(t *testing.T) {
	conns := make(chan int, 10000)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ms, err := strconv.Atoi(r.URL.Query().Get("ms"))
		if err != nil || ms > 20 {
			w.WriteHeader(http.StatusBadRequest)
		}
		<-time.After(time.Duration(ms) * time.Millisecond)
		fmt.Fprintf(w, "hello, release=%d pid=%d\n", ms%2, 100+ms%3)
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns <- 1
		}
	}
	srv.Start()
	defer srv.Close()
	run := Start(Options{Addr: srv.Listener.Addr().String(), Fresh: 4, Kept: 4, MaxDelay: 20 * time.Millisecond})
	until(t, "200 answers, by all", func() bool {
		r := run.Report()
		return r.Answers() > 200 && len(r.PIDs()) == 3 && len(r.Releases()) == 2
	})
	r := run.Stop()
	if r.Lost() != 0 || r.Longest < 15*time.Millisecond || r.Longest > 5*time.Second {
		t.Errorf("lost or odd times: %v", r)
	}
	if got, most := len(conns), r.Fresh.Answers+4; got > most {
		t.Errorf("%d connections for %d fresh requests and 4 kept clients", got, r.Fresh.Answers)
	}
	run.Mark()
	if r := run.Report(); len(r.Seen) != 0 || r.Longest != 0 || r.Answers() == 0 {
		t.Errorf("after Mark: %v", r)
	}
}
