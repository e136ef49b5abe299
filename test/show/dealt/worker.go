package dealt

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/muster-run/muster/worker"
	"github.com/muster-run/muster/worker/web"
)

// The environment of the worker: that it is one, what it listens on, how long it warms
// up between Listen and Accept, where it notes the ports of its clients, and which release
// it is without a file RELEASE.
const (
	workVar    = "DEALT_WORKER"
	listenVar  = "DEALT_LISTEN"
	warmUpVar  = "DEALT_WARM_UP"
	clientsVar = "DEALT_CLIENTS"
	releaseVar = "DEALT_RELEASE"
)

// IsWorker says whether this process is a worker of the cells: TestMain calls Work then.
func IsWorker() bool { return os.Getenv(workVar) != "" }

// Work is the life of a worker; it returns the code to exit with.
func Work() int { return worker.Run(worker.Options{}, work) }

// work is the worker's program: an HTTP server that says who it is.
func work(ctx context.Context, w *worker.Worker) error {
	release, err := os.ReadFile("RELEASE")
	if err != nil { // in a pool
		release = []byte(os.Getenv(releaseVar))
	}
	network, address, _ := strings.Cut(os.Getenv(listenVar), " ")
	l, err := w.Listen(network, address)
	if err != nil {
		return err
	}
	fmt.Println("listens on", l.Addr())
	if d, err := time.ParseDuration(os.Getenv(warmUpVar)); err == nil {
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return nil
		}
	}
	note, err := os.OpenFile(os.Getenv(clientsVar), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		note = nil // not asked for
	}
	who := fmt.Sprintf("release=%s pid=%d\n", strings.TrimSpace(string(release)), os.Getpid())
	return w.Serve(l, web.Polite(&http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if ms, err := strconv.Atoi(r.URL.Query().Get("ms")); err == nil {
				<-time.After(time.Duration(ms) * time.Millisecond)
			}
			fmt.Fprint(w, who)
		}),
		ConnState: func(c net.Conn, s http.ConnState) {
			if at, ok := c.RemoteAddr().(*net.TCPAddr); ok && s == http.StateNew && note != nil {
				fmt.Fprintf(note, "%d %d\n", os.Getpid(), at.Port)
			}
			if _, ok := c.(*net.TCPConn); !ok && s == http.StateNew && network == "tcp" {
				fmt.Printf("not a connection of TCP: %T\n", c)
			}
		},
	}))
}
