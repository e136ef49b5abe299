package worker_test

import (
	"context"
	"io"
	"net/http"
	"os"

	"github.com/muster-run/muster/peer"
	"github.com/muster-run/muster/worker"
)

// A server that runs under muster, and by hand.
func ExampleRun() {
	serve := func(_ context.Context, w *worker.Worker) error {
		l, err := w.Listen("tcp", ":8080") // the one that muster holds, or its own
		if err != nil {
			return err
		}
		mux := http.NewServeMux()
		mux.HandleFunc("GET /", func(rw http.ResponseWriter, r *http.Request) {
			if !w.Limiter("pages", peer.LimiterOptions{Rate: 100}).Allow(r.Context(), r.RemoteAddr) {
				rw.WriteHeader(http.StatusTooManyRequests)
				return
			}
			_, _ = io.WriteString(rw, "hello from "+w.Name())
		})
		w.OnStop(func(context.Context, error) { /* close the database */ })
		return w.Serve(l, &http.Server{Handler: mux})
	}
	os.Exit(worker.Run(worker.Options{}, serve))
}
