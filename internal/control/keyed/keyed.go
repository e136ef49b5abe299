package keyed

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/muster-run/muster/fault"
)

const (
	// maxBody and maxHeader bound a request, in bytes.
	maxBody   = 64 << 10
	maxHeader = 16 << 10
	// maxConns is how many connections there may be at a time.
	maxConns = 64
	// maxRefused is how many refusals are delayed at a time.
	maxRefused = 16
)

// Options of a Server. Key and API are required.
type Options struct {
	// Key that requests must have.
	Key string
	// API answers those that do.
	API http.Handler
	// Warn is told of what goes wrong, and of attempts without the key; nil: nobody.
	Warn func(*fault.Fault)
	// Grace is how long requests may take that run when a listener is given up.
	// Default 10s.
	Grace time.Duration
	// Log takes what clients do wrong in HTTP itself; nil: nowhere.
	Log *slog.Logger

	// Times, shorter in tests: the delay of a refusal, between two warnings, for a
	// header.
	delay, quiet, headerTime time.Duration
}

func (o Options) withDefaults() Options {
	if o.Warn == nil {
		o.Warn = func(*fault.Fault) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	for v, otherwise := range map[*time.Duration]time.Duration{
		&o.Grace: 10 * time.Second, &o.delay: 500 * time.Millisecond, &o.quiet: time.Minute, &o.headerTime: 5 * time.Second,
	} {
		if *v <= 0 {
			*v = otherwise
		}
	}
	return o
}

// Server answers on one listener at a time, or on none. Its methods are safe for
// concurrent use.
type Server struct {
	o       Options
	refused chan struct{} // one for each refusal that is being delayed
	tries   tries

	mu      sync.Mutex
	now     *http.Server // nil: on none
	closed  bool
	running sync.WaitGroup
}

// New makes a Server that answers nowhere yet; Close ends it.
func New(o Options) *Server {
	return &Server{o: o.withDefaults(), refused: make(chan struct{}, maxRefused)}
}

// Move answers on l from now on, which it closes at the end; nil: nowhere. Requests on
// the listener before get their answers.
func (s *Server) Move(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retire(s.o.Grace)
	switch {
	case l == nil:
	case s.closed:
		l.Close()
	default:
		s.serve(l)
	}
}

// Close ends the Server and returns when nothing of it is left. Requests that run get
// grace to end.
func (s *Server) Close(grace time.Duration) {
	s.mu.Lock()
	s.closed = true
	s.retire(grace)
	s.mu.Unlock()
	s.running.Wait()
}

func (s *Server) serve(l net.Listener) {
	d := &door{Listener: l}
	server := &http.Server{
		Handler: s, ConnState: d.state, ReadHeaderTimeout: s.o.headerTime, IdleTimeout: time.Minute, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(s.o.Log.Handler(), slog.LevelDebug),
	}
	s.now = server
	address := l.Addr().String()
	s.running.Go(func() { // ends with the server
		err := server.Serve(d)
		if !errors.Is(err, http.ErrServerClosed) {
			s.o.Warn(fault.New(fault.Bind, "nobody is heard on control.listen any more: %w", err).At(address).
				WithFix("`muster up` opens it again where the file says another address, or none before"))
		}
	})
}

// retire ends the present server, in the background.
func (s *Server) retire(grace time.Duration) {
	old := s.now
	if s.now = nil; old == nil {
		return
	}
	s.running.Go(func() { // ends within grace
		ctx, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		if old.Shutdown(ctx) != nil {
			old.Close()
		}
	})
}

// door has a place for maxConns connections. When all are taken, the one that has said
// nothing whole for longest makes room, so that who only holds connections keeps nobody
// out; where all are at work, a new one is closed.
type door struct {
	net.Listener

	mu     sync.Mutex
	open   int
	silent []*conn // the oldest first
}

// Accept implements net.Listener.
func (d *door) Accept() (net.Conn, error) {
	for {
		raw, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: raw}
		c.leave = sync.OnceFunc(func() { d.left(c) })
		if oldest, ok := d.enter(c); !ok {
			raw.Close()
		} else {
			if oldest != nil {
				oldest.Close()
			}
			return c, nil
		}
	}
}

// enter gives c a place: perhaps that of oldest, which is to be closed.
func (d *door) enter(c *conn) (oldest *conn, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open >= maxConns {
		if len(d.silent) == 0 {
			return nil, false
		}
		oldest, d.silent = d.silent[0], d.silent[1:]
	}
	d.open++
	d.silent = append(d.silent, c)
	return oldest, true
}

// state is http.Server's ConnState.
func (d *door) state(c net.Conn, now http.ConnState) {
	ours, ok := c.(*conn)
	if !ok {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch now {
	case http.StateActive: // a header was read
		d.heard(ours)
	case http.StateIdle:
		if !ours.gone {
			d.silent = append(d.silent, ours)
		}
	case http.StateNew, http.StateHijacked, http.StateClosed:
	}
}

func (d *door) heard(c *conn) {
	d.silent = slices.DeleteFunc(d.silent, func(s *conn) bool { return s == c })
}

func (d *door) left(c *conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open--
	c.gone = true
	d.heard(c)
}

type conn struct {
	net.Conn
	leave func()
	gone  bool // has left; under the door's mutex
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.leave()
	return c.Conn.Close()
}

// CloseWrite lets net/http end an answer before the request is read whole.
func (c *conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}
