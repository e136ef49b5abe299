package keeper

import (
	"context"
	"encoding/json"
	"os"
	"syscall"

	"github.com/muster-run/muster/internal/process"
)

// Root is what the server asks of the root process for the agent. No call may
// wait: the agent's other requests wait behind it.
type Root interface {
	// Up: the agent serves.
	Up()
	// Notify tells systemd.
	Notify(state string) error
	// Upgrade makes exe the next agent's program; exe is the root's to close.
	Upgrade(exe *os.File, what json.RawMessage) error
	// End: the agent ends orderly now.
	End(code int)
	// Broken: the agent sent what cannot be understood. The root must kill it
	// (SIGKILL): its end of the socket is kept open until it is gone, so that it
	// does not take the end of the connection for the end of the keeper.
	Broken(err error)
}

// Server lets one agent at a time use a Direct and a DirectStore.
type Server struct{}

// NewServer makes a server that answers every hello with what Serve is given.
// Its goroutine ends with Close.
func NewServer(d *process.Direct, store *process.DirectStore, root Root) *Server { return nil }

// Serve speaks with one agent over fd, which it takes over, until the agent's
// end is closed. When ctx ends (the agent has been reaped) it obeys what is in
// the socket still and returns, though a stranger holds the other end. One
// Serve at a time; starts that an agent left behind end within it. The error
// is what Root.Broken was told, else nil.
func (s *Server) Serve(ctx context.Context, fd int, hello Hello) error { return errNotYet }

// Signal forwards a signal to the agent; false: there is none that has said hello.
func (s *Server) Signal(sig syscall.Signal) bool { return false }

// Close ends the server's goroutine; call it after the last Serve has returned,
// and before the Direct is closed.
func (s *Server) Close() {}
