// Package web serves HTTP from a worker without hanging up on anybody.
//
//	return w.Serve(l, web.Polite(&http.Server{Handler: routes}))
//
// http.Server's own Shutdown closes connections that are idle at that moment, just when
// a client may be sending its next request on one. Polite takes no new connections, has
// every answer from then on say "Connection: close" (HTTP/2: GOAWAY), and waits for idle
// connections until their client has had one more answer, or for Server.Grace. Then it
// calls the Shutdown of http.Server, which waits for what is still under way.
//
// Connections that a handler has taken over (Hijack: WebSockets) are the program's own
// affair, as with http.Server.
package web

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// graceDefault is Server.Grace's: longer than most clients wait between two requests.
const graceDefault = 6 * time.Second

// Server is an http.Server that ends politely. It is a worker.Server. Serve and Shutdown
// are called once each.
type Server struct {
	// Grace is how long a connection that sends nothing is kept while the server ends;
	// 0: 6 s. It must be shorter than stop.timeout of the app.
	Grace time.Duration

	http     *http.Server
	draining atomic.Bool

	mu       sync.Mutex
	listener net.Listener
	open     int
	none     chan struct{} // closed when draining, and none is open
}

// Polite makes a Server of one that does not run yet. Its Handler and ConnState are
// wrapped.
func Polite(s *http.Server) *Server {
	p := &Server{http: s, none: make(chan struct{})}
	next := s.Handler
	if next == nil {
		next = http.DefaultServeMux
	}
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.draining.Load() {
			w.Header().Set("Connection", "close") // the client's next one goes to another worker
		}
		next.ServeHTTP(w, r)
	})
	told := s.ConnState
	s.ConnState = func(c net.Conn, state http.ConnState) {
		p.count(state)
		if told != nil {
			told(c, state)
		}
	}
	return p
}

// Serve is http.Server.Serve. After Shutdown it returns http.ErrServerClosed.
func (p *Server) Serve(l net.Listener) error {
	p.mu.Lock()
	p.listener = l
	p.mu.Unlock()
	if p.draining.Load() {
		return errors.Join(http.ErrServerClosed, l.Close())
	}
	err := p.http.Serve(l)
	if p.draining.Load() {
		return http.ErrServerClosed
	}
	return err
}

// Shutdown ends the server politely. When ctx ends before, it returns its error, and what
// is open stays open, as with http.Server.
func (p *Server) Shutdown(ctx context.Context) error {
	p.drain()
	grace := p.Grace
	if grace <= 0 {
		grace = graceDefault
	}
	late := time.NewTimer(grace)
	defer late.Stop()
	select {
	case <-p.none:
	case <-late.C:
	case <-ctx.Done():
	}
	return p.http.Shutdown(ctx)
}

// drain has no more connections accepted.
func (p *Server) drain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.draining.Swap(true) {
		return
	}
	if p.listener != nil {
		_ = p.listener.Close() // Shutdown closes it again, and says why it cannot
	}
	if p.open == 0 {
		close(p.none)
	}
}

// count counts the connections of clients.
func (p *Server) count(state http.ConnState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch state {
	case http.StateNew:
		p.open++
		return
	case http.StateClosed, http.StateHijacked:
		p.open--
	case http.StateActive, http.StateIdle:
		return
	}
	if p.open == 0 && p.draining.Load() {
		select {
		case <-p.none:
		default:
			close(p.none)
		}
	}
}
