package web

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/muster-run/muster/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ worker.Server = (*Server)(nil)

// served is a Polite server, and what its Serve returns.
func served(t *testing.T, s *http.Server, grace time.Duration) (*Server, string, <-chan error) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := Polite(s)
	p.Grace = grace
	ended := make(chan error, 1)
	go func() { ended <- p.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return p, l.Addr().String(), ended
}

// client is one that keeps its connection.
type client struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func dial(t *testing.T, addr string) *client {
	t.Helper()
	conn, err := net.Dial("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return &client{t, conn, bufio.NewReader(conn)}
}

func (c *client) send() {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		c.t.Error(err)
	}
}

// answer reads one, and says whether it is the last on this connection.
func (c *client) answer() (last bool) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.t.Error(err)
		return true
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		c.t.Error(resp.Status, err)
	}
	return resp.Close
}

func (c *client) ask() (last bool) { c.t.Helper(); c.send(); return c.answer() }

func hello(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }

func (p *Server) connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open
}

// begun has Shutdown run, and returns when it has begun.
func begun(t *testing.T, p *Server, addr string) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- p.Shutdown(context.Background()) }()
	for end := time.Now().Add(10 * time.Second); ; <-time.After(time.Millisecond) {
		conn, err := net.Dial("tcp4", addr)
		if err != nil {
			return done
		}
		_ = conn.Close()
		if time.Now().After(end) {
			t.Fatal("it accepts still")
		}
	}
}

func result(t *testing.T, what string, c <-chan error) error {
	t.Helper()
	select {
	case err := <-c:
		return err
	case <-time.After(20 * time.Second):
		t.Fatalf("%s does not end", what)
		return nil
	}
}

// An idle connection is answered once more; who asks is told to go elsewhere.
func TestIdleIsAnsweredOnceMore(t *testing.T) {
	p, addr, ended := served(t, &http.Server{Handler: http.HandlerFunc(hello)}, time.Minute)
	idle, fresh := dial(t, addr), dial(t, addr) // fresh has never asked
	if idle.ask() {
		t.Error("told to leave while nothing ends")
	}
	for end := time.Now().Add(10 * time.Second); p.connections() != 2 && time.Now().Before(end); {
		<-time.After(time.Millisecond) // what the kernel still has goes down with a listener of one's own
	}
	done := begun(t, p, addr)
	select {
	case err := <-done:
		t.Fatal("it does not wait for idle connections", err)
	case <-time.After(20 * time.Millisecond):
	}
	if !idle.ask() || !fresh.ask() {
		t.Error("not told that the answer is the last")
	}
	if err := result(t, "Shutdown", done); err != nil {
		t.Error(err)
	}
	if err := result(t, "Serve", ended); !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

// Who sends nothing is not waited for for ever; what is under way is finished.
func TestGrace(t *testing.T) {
	slow, began := make(chan struct{}), make(chan struct{})
	var slowly atomic.Bool
	p, addr, _ := served(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if slowly.Load() {
			close(began)
			<-slow
		}
		hello(w, r)
	})}, 10*time.Millisecond)
	dial(t, addr).ask()
	busy := dial(t, addr)
	slowly.Store(true)
	busy.send()
	<-began
	done := begun(t, p, addr)
	select {
	case err := <-done:
		t.Fatal("it does not wait for a request under way", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(slow)
	busy.answer()
	if err := result(t, "Shutdown", done); err != nil {
		t.Error(err)
	}
}

func TestShutdownEndsWithItsContext(t *testing.T) {
	block, began := make(chan struct{}), make(chan struct{})
	p, addr, _ := served(t, &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(began); <-block })}, time.Minute)
	defer close(block)
	dial(t, addr).send()
	<-began
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// What was set in the http.Server is called as before; without a handler there is the
// default one.
func TestWhatWasSetStays(t *testing.T) {
	states := make(chan http.ConnState, 9)
	_, addr, _ := served(t, &http.Server{ConnState: func(_ net.Conn, s http.ConnState) { states <- s }}, 0)
	c := dial(t, addr)
	c.send()
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil || resp.StatusCode != http.StatusNotFound {
		t.Error(resp, err)
	}
	if s := <-states; s != http.StateNew {
		t.Error(s)
	}
}

func TestServeAfterShutdown(t *testing.T) {
	p := Polite(&http.Server{})
	if err := p.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error("left open")
	}
}
