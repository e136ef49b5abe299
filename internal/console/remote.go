package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
)

// ErrClosed says that the worker has closed its console, or has ended, while more could
// have been typed.
var ErrClosed = errors.New("the worker has closed its console")

// Join connects in and out with the console that a worker has opened: whole lines go
// there as they are typed, and what it prints comes back, until either side ends. The
// end of in (Ctrl-D) is passed on, and the rest of the answer awaited. Ctrl-C is ctx:
// it leaves the console, and does nothing to the worker. ErrClosed, or a fault: E-CONSOLE,
// E-INTERRUPTED.
func Join(ctx context.Context, place api.ConsolePlace, in *os.File, out io.Writer) error {
	conn, err := reach(ctx, place)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	typing, cancel := context.WithCancel(ctx)
	keys, done, err := NewInput(typing, in)
	if err != nil {
		cancel()
		return err
	}
	var left atomic.Bool // by us: all was typed
	typed := make(chan struct{})
	go func() { // ends with in, or with the connection
		defer close(typed)
		_, err := io.Copy(conn, keys)
		left.Store(err == nil)
		if half, ok := conn.(interface{ CloseWrite() error }); ok && err == nil {
			_ = half.CloseWrite()
		}
	}()
	_, err = io.Copy(out, conn)
	over := left.Load()
	conn.Close() // else what is being typed might wait for it
	cancel()
	<-typed
	done()
	switch {
	case ctx.Err() != nil:
		return fault.New(fault.Interrupted, "left the worker's console")
	case err != nil && !errors.Is(err, net.ErrClosed):
		return fault.New(fault.ConsoleFailed, "the worker's console broke off: %w", err)
	case !over:
		return ErrClosed
	}
	return nil
}

func reach(ctx context.Context, place api.ConsolePlace) (net.Conn, error) {
	network, address := "unix", place.Path
	if place.Path == "" {
		network, address = "tcp", place.Address
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, fault.New(fault.ConsoleFailed, "the worker's console cannot be reached: %w", err).At(address)
	}
	if network == "tcp" {
		if _, err := fmt.Fprintf(conn, "%s\n", place.Token); err != nil {
			conn.Close()
			return nil, fault.New(fault.ConsoleFailed, "the worker's console cannot be reached: %w", err).At(address)
		}
	}
	return conn, nil
}
