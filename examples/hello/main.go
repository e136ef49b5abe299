// Command hello is a plain HTTP server that shows what a program has to do to
// be reloaded without losing a request: take the socket that it is given, and
// stop without hanging up on anybody. It uses nothing but the standard library.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// idleGrace is how long a connection that sends nothing is kept while the
// program stops: longer than clients wait between two requests.
const idleGrace = 5 * time.Second

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "hello:", err)
		os.Exit(1)
	}
}

func run() error {
	l, err := listener()
	if err != nil {
		return err
	}
	release, err := os.ReadFile("RELEASE")
	if err != nil {
		return err
	}
	s := &server{release: strings.TrimSpace(string(release))}
	s.http = &http.Server{Handler: s, ConnState: s.count, ReadHeaderTimeout: 10 * time.Second}

	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	go func() {
		<-stop.Done()
		s.draining.Store(true)
		_ = l.Close() // accept no more; connections that are open live on
	}()
	fmt.Println("serving release", s.release, "on", l.Addr())
	if err := s.http.Serve(l); !s.draining.Load() {
		return err
	}
	return s.drain()
}

// listener is the socket at descriptor 3 that muster (or systemd) has bound,
// or one of our own when the program is started by hand.
func listener() (net.Listener, error) {
	if os.Getenv("LISTEN_PID") == strconv.Itoa(os.Getpid()) {
		return net.FileListener(os.NewFile(3, "LISTEN_FDS"))
	}
	return net.Listen("tcp", "127.0.0.1:8080")
}

type server struct {
	http     *http.Server
	release  string
	draining atomic.Bool
	open     atomic.Int64 // connections
}

// ServeHTTP says who answers, after the ?ms=N that the request asks for.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if ms, err := strconv.Atoi(r.URL.Query().Get("ms")); err == nil {
		time.Sleep(time.Duration(min(ms, 10_000)) * time.Millisecond)
	}
	if s.draining.Load() {
		w.Header().Set("Connection", "close") // the client opens its next one elsewhere
	}
	fmt.Fprintf(w, "hello from release=%s pid=%d\n", s.release, os.Getpid())
}

func (s *server) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.open.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.open.Add(-1)
	}
}

// drain answers each open connection once more, with "Connection: close". Go's
// own Shutdown would hang up on idle connections at once, just when a client
// may be sending on one, so it comes last.
func (s *server) drain() error {
	for end := time.Now().Add(idleGrace); s.open.Load() > 0 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	return s.http.Shutdown(context.Background())
}
