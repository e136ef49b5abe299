package worker

import (
	"context"
	"net"
)

// Server is what Serve runs; *http.Server is one.
type Server interface {
	// Serve takes connections until Shutdown, or for as long as it can.
	Serve(net.Listener) error
	// Shutdown ends Serve and waits for what is under way.
	Shutdown(context.Context) error
}

// Serve runs a server on a listener, says that the worker is ready, and shuts the server
// down when the worker is to end: what is under way is waited for as long as muster
// allows it (stop.timeout). It returns nil then, or the error that ended the server.
func (w *Worker) Serve(l net.Listener, s Server) error {
	ended := make(chan error, 1)
	go guarded(func() error { return s.Serve(l) }, func(err error) { ended <- err })
	if err := w.Ready(); err != nil {
		w.log.Warn("muster could not be told that the worker is ready", "error", err)
	}
	select {
	case err := <-ended:
		return err
	case <-w.Draining():
	}
	if err := s.Shutdown(context.Background()); err != nil {
		return err
	}
	if err := <-ended; isPanic(err) {
		return err
	}
	return nil // it says that it was shut down
}
