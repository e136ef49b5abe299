package control

import (
	"context"
	"errors"
	"net"

	"github.com/muster-run/muster/spec"
)

// Server serves the control API.
type Server struct {
	options Options
}

// New makes a Server. It fails when a required option is missing or the group
// does not exist (fault.UserUnknown).
func New(o Options) (*Server, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Server{options: o}, nil
}

// Serve answers on l until ctx ends, then takes no more, closes the streams,
// waits for running orders (at most Options.Grace) and returns nil. l is closed
// in any case. It returns an error only when l fails.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return errors.ErrUnsupported
}

// Listen binds the control socket.
func Listen(path, group string, mode spec.FileMode) (net.Listener, error) {
	return nil, errors.ErrUnsupported
}

// OpenAPI is the description of the API in OpenAPI 3.1 (JSON).
func OpenAPI(version string) []byte { return nil }

// Reference is the description of the API in Markdown.
func Reference() string { return "" }
