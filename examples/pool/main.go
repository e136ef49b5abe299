// Command pool is an HTTP server that supervises itself: one process that holds the
// listener, and workers of the same binary that serve. SIGHUP puts a new release of the
// binary into service without losing a request.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/muster-run/muster"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/peer"
	"github.com/muster-run/muster/worker"
	"github.com/muster-run/muster/worker/web"
)

// version is set at build: -ldflags "-X main.version=2".
var version = "1"

func main() {
	if worker.IsWorker() {
		os.Exit(worker.Run(worker.Options{}, serve))
	}
	if err := supervise(address()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(fault.ExitCode(err))
	}
}

// address is the first argument: the same one in the workers.
func address() string {
	if len(os.Args) > 1 {
		return os.Args[1]
	}
	return "127.0.0.1:8080"
}

// supervise is the one process that is no worker. Without On and SIGHUP it would be a
// single call of muster.Run.
func supervise(address string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	pool, err := muster.Start(ctx, muster.Options{Workers: 4, Listen: []string{address}})
	if err != nil {
		return err
	}
	if _, err := pool.On("visits", visits()); err != nil {
		return errors.Join(err, pool.Stop(ctx))
	}
	fmt.Println("ready")
	go reloadOnHangup(ctx, pool)
	return pool.Wait()
}

// visits answers a question of the workers: how many there were, in all of them.
func visits() func(context.Context, *peer.Request) (any, error) {
	asked := make(chan int, 1)
	asked <- 0
	return func(context.Context, *peer.Request) (any, error) {
		n := <-asked + 1
		asked <- n
		return n, nil
	}
}

// reloadOnHangup ends with ctx.
func reloadOnHangup(ctx context.Context, pool *muster.Pool) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	for {
		select {
		case <-hangup:
			if err := pool.Reload(ctx); err != nil {
				fmt.Fprintln(os.Stderr, "reload:", err)
				continue
			}
			fmt.Println("reloaded")
		case <-ctx.Done():
			return
		}
	}
}

// serve is a worker.
func serve(_ context.Context, w *worker.Worker) error {
	l, err := w.Listen("tcp", address())
	if err != nil {
		return err
	}
	return w.Serve(l, web.Polite(&http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var n int
		if err := w.Request(r.Context(), "", "visits", nil, &n); err != nil {
			http.Error(rw, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(rw, "visit %d, release=%s pid=%d\n", n, version, os.Getpid())
	})}))
}
