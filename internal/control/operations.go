package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
)

// Operations are what processes of the project, and clients, ask of each other.
type Operations interface {
	Ask(ctx context.Context, a api.Ask) (api.Replies, error)
	Commands() api.Commands
	Run(ctx context.Context, c api.CommandRun) (api.Replies, error)
	Console(ctx context.Context, o api.ConsoleOrder) (api.ConsolePlace, error)
	// Join has a client take part, as client:NAME, until ctx or its connection ends.
	// It closes c.
	Join(ctx context.Context, name string, c *net.UnixConn) error
}

func joinParams() []Param {
	return []Param{{Name: "name", Text: "Others reach it as client:NAME. Default: its pid.", Type: "string"}}
}

func (s *Server) ask(ctx context.Context, a api.Ask) (api.Replies, error) {
	switch {
	case s.options.Operations == nil:
		return api.Replies{}, s.notOffered(http.MethodPost, "/v1/request")
	case a.Selector == "":
		return api.Replies{}, noSelector()
	case a.Op == "":
		return api.Replies{}, fault.New(fault.Usage, "op is missing").WithFix("name the operation, such as chat:say")
	case len(a.Body) > api.MessageMax:
		return api.Replies{}, status{http.StatusRequestEntityTooLarge, fault.New(fault.TooLarge, "the body has %d bytes, at most %d are sent", len(a.Body), api.MessageMax)}
	}
	s.ordered(ctx, "request "+a.Op, a.Selector)
	out, err := s.options.Operations.Ask(ctx, a)
	return withReplies(out), err
}

func (s *Server) commands(*http.Request) (api.Commands, error) {
	if s.options.Operations == nil {
		return api.Commands{}, s.notOffered(http.MethodGet, "/v1/commands")
	}
	c := s.options.Operations.Commands()
	if c.Commands == nil {
		c.Commands = []api.Command{}
	}
	return c, nil
}

func (s *Server) runCommand(ctx context.Context, c api.CommandRun) (api.Replies, error) {
	if s.options.Operations == nil {
		return api.Replies{}, s.notOffered(http.MethodPost, "/v1/commands/run")
	}
	s.ordered(ctx, "command", c.Name)
	out, err := s.options.Operations.Run(ctx, c)
	return withReplies(out), err
}

func withReplies(r api.Replies) api.Replies {
	if r.Replies == nil {
		r.Replies = []api.Reply{}
	}
	return r
}

func (s *Server) workerConsole(ctx context.Context, o api.ConsoleOrder) (api.ConsolePlace, error) {
	if s.options.Operations == nil {
		return api.ConsolePlace{}, s.notOffered(http.MethodPost, "/v1/worker-console")
	}
	verb := "console"
	if o.Close {
		verb = "console close"
	}
	s.ordered(ctx, verb, o.Worker)
	return s.options.Operations.Console(ctx, o)
}

// join gives the connection away.
func (s *Server) join(w http.ResponseWriter, r *http.Request) error {
	switch {
	case s.options.Operations == nil:
		return s.notOffered(r.Method, r.URL.Path)
	case r.Header.Get("Upgrade") != api.JoinProtocol:
		return status{http.StatusUpgradeRequired, fault.New(fault.Usage, "the connection is to be upgraded").
			WithFix("send Connection: Upgrade and Upgrade: " + api.JoinProtocol)}
	}
	own := connOf(r.Context())
	name := r.URL.Query().Get("name")
	if name == "" {
		name = fmt.Sprint(own.peer.pid)
	}
	raw, early, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return fault.New(fault.Internal, "the connection cannot be taken over: %w", err)
	}
	defer raw.Close()
	c, ok := own.Conn.(*net.UnixConn)
	if !ok || early.Reader.Buffered() > 0 {
		return errors.Join(http.ErrAbortHandler) // it spoke before it was asked to
	}
	_ = c.SetDeadline(time.Time{}) // one that is closed shows so below
	if _, err := fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", api.JoinProtocol); err != nil {
		return nil // it has gone away
	}
	if err := s.options.Operations.Join(own.end, name, c); err != nil {
		s.options.Logger.Debug("control: a client left", "name", name, "error", err)
	}
	return nil
}
