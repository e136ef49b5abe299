package keeper

import (
	"syscall"

	"github.com/muster-run/muster/internal/process"
)

// server lets one agent at a time use a Direct and a DirectStore.
type server struct{}

// newServer makes a server for the keeper's life; its goroutine ends with close.
func newServer(d *process.Direct, store *process.DirectStore) *server { return &server{} }

// serve begins to speak with an agent over fd, which it takes over. h is what
// the agent is told (PID, Protocol and Capabilities are filled in). One session
// at a time: the one before must be closed.
func (s *server) serve(fd int, h Hello, o orders) *session { return &session{} }

// close ends the server; every session must be closed.
func (s *server) close() {}

// session is one agent's time with the server.
type session struct{}

// forward tells the agent of a signal, once it has said hello. It never blocks.
func (s *session) forward(sig syscall.Signal) {}

// broken delivers an error when the agent has sent what cannot be understood: the
// root process must kill it then. Its end of the socket is kept open until close,
// so that it does not take the end of the connection for that of the keeper.
func (s *session) broken() <-chan error { return nil }

// close carries out what the agent had sent up to its end, and returns. The agent
// must have been reaped.
func (s *session) close() {}
