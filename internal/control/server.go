package control

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/control/socket"
)

// maxHeader bounds the header of a request, in bytes.
const maxHeader = 32 << 10

// Server serves the control API.
type Server struct {
	options  Options
	gid      int // socket.NoGroup: none
	instance string
	routes   map[string]map[string]Route // by path, then method
	leaving  atomic.Bool
}

// New makes a Server. It fails when a required option is missing or the group
// does not exist (fault.UserUnknown).
func New(o Options) (*Server, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	gid, err := socket.LookupGroup(o.Group)
	if err != nil {
		return nil, err
	}
	s := &Server{options: o, gid: gid, instance: rand.Text(), routes: map[string]map[string]Route{}}
	for _, r := range Routes() {
		if s.routes[r.Path] == nil {
			s.routes[r.Path] = map[string]Route{}
		}
		s.routes[r.Path][r.Method] = r
	}
	return s, nil
}

// Serve answers on l until ctx ends, then takes no more, closes the streams,
// waits for running orders (at most Options.Grace) and returns nil. l is closed
// in any case. It returns an error only when l fails.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	fresh := &fresh{}
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: s.options.headerTime,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.options.Logger.Handler(), slog.LevelDebug),
		ConnState:         fresh.note,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
	}
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(&door{Listener: l, max: s.options.MaxConns, end: ctx})
	}()
	select {
	case err := <-served:
		server.Close()
		return fmt.Errorf("cannot serve the control socket: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), s.grace())
	defer cancel()
	fresh.close()
	if err := server.Shutdown(grace); err != nil {
		if !s.leaving.Load() {
			s.options.Logger.Warn("control: orders still ran at the end", "error", err)
		}
		server.Close()
	}
	<-served
	return nil
}

// leaveGrace is how long answers may take that are written when another agent
// takes over. Orders that still run lose their connection, so that whoever gave
// them knows that this agent does not end them.
const leaveGrace = 500 * time.Millisecond

// Leave makes the end of Serve one after which another agent goes on with the
// same socket: streams break off instead of telling that the agent has ended,
// and running orders are not waited for. Call it before the end of Serve's context.
func (s *Server) Leave() { s.leaving.Store(true) }

func (s *Server) grace() time.Duration {
	if s.leaving.Load() {
		return min(leaveGrace, s.options.Grace)
	}
	return s.options.Grace
}

// breakOff ends a stream without an end where the agent leaves, so that its reader
// asks the next one.
func (s *Server) breakOff() {
	if s.leaving.Load() {
		panic(http.ErrAbortHandler)
	}
}

// fresh knows the connections that have not asked anything yet: nobody waits
// for an answer on them, so that they need not hold up the end.
type fresh struct {
	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
}

func (f *fresh) note(c net.Conn, state http.ConnState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch state {
	case http.StateNew:
		if f.closed {
			c.Close()
			return
		}
		if f.conns == nil {
			f.conns = map[net.Conn]bool{}
		}
		f.conns[c] = true
	case http.StateActive, http.StateIdle, http.StateHijacked, http.StateClosed:
		delete(f.conns, c)
	}
}

func (f *fresh) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for c := range f.conns {
		c.Close()
	}
}

// ServeHTTP implements http.Handler: limits, credentials, then the route.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := &writer{ResponseWriter: w}
	defer s.survive(out, r)
	w.Header().Set(api.VersionHeader, s.options.Version)
	w.Header().Set(api.AgentHeader, s.instance)
	w.Header().Set("Cache-Control", "no-store")
	if err := s.route(out, r); err != nil {
		s.fail(out, err)
	}
}

func (s *Server) route(w http.ResponseWriter, r *http.Request) error {
	c := connOf(r.Context())
	if c.over {
		w.Header().Set("Connection", "close")
		return status{http.StatusServiceUnavailable, fault.New(fault.AgentUnreachable, "the agent already serves %d connections", s.options.MaxConns).
			WithFix("close what follows logs or events, then try again")}
	}
	route, err := s.find(w, r)
	if err != nil {
		// Who may not ask anything learns nothing about the routes either.
		if denied := s.admit(c.peer, Read); denied != nil {
			return denied
		}
		return err
	}
	if err := s.admit(c.peer, route.Access); err != nil {
		return err
	}
	return route.run(s, w, r)
}

func (s *Server) find(w http.ResponseWriter, r *http.Request) (Route, error) {
	verbs := s.routes[r.URL.Path]
	if route, ok := verbs[r.Method]; ok {
		return route, nil
	}
	if route, ok := verbs[http.MethodGet]; ok && r.Method == http.MethodHead {
		return route, nil
	}
	if verbs == nil {
		return Route{}, s.notOffered(r.Method, r.URL.Path)
	}
	var allowed []string
	for verb := range verbs {
		allowed = append(allowed, verb)
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	return Route{}, status{http.StatusMethodNotAllowed, fault.New(fault.Usage, "%s does not take %s", r.URL.Path, r.Method).
		WithFix("use " + strings.Join(allowed, " or "))}
}

// notOffered is the answer to a route that this agent does not have.
func (s *Server) notOffered(method, path string) error {
	return status{http.StatusNotFound, fault.New(fault.Usage, "this agent (%s) has no %s %s", s.options.Version, method, path).
		WithFix("GET /v1/openapi.json lists what it has; upgrade it if the client is newer")}
}

// survive turns a panic of a route into an answer (S1.7).
func (s *Server) survive(w *writer, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p) // net/http closes the connection, silently
	}
	f := s.panicked(r.Method+" "+r.URL.Path, p)
	if w.begun {
		panic(http.ErrAbortHandler)
	}
	s.fail(w, f)
}

// panicked tells of a panic; it is called while that is recovered.
func (s *Server) panicked(route string, p any) *fault.Fault {
	f := fault.New(fault.Internal, "%s failed: %v", route, p)
	s.options.Logger.Error("control: panic in a route", "route", route, "panic", p, "stack", string(debug.Stack()))
	s.publish(event.Warning{Fault: *f})
	return f
}

// publish tells everybody something about the agent.
func (s *Server) publish(d event.Data) {
	s.options.Events.Publish(event.Event{Node: s.options.Node, Slot: event.NoSlot, Data: d})
}

// ordered tells everybody who ordered what.
func (s *Server) ordered(ctx context.Context, verb, target string) {
	s.publish(event.Order{Verb: verb, Target: target, By: connOf(ctx).peer.String()})
}
