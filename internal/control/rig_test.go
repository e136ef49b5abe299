package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/control/socket"
	"github.com/muster-run/muster/internal/output"
	"github.com/muster-run/muster/spec"
)

// childSocket makes the test binary a client of another user: see peer_test.go.
const childSocket = "CONTROL_TEST_SOCKET"

func TestMain(m *testing.M) {
	if path := os.Getenv(childSocket); path != "" {
		os.Exit(childMain(path))
	}
	goleak.VerifyTestMain(m)
}

// patience bounds every wait of these tests.
const patience = 20 * time.Second

// fakes stand for the supervisor. A nil function does the obvious.
type fakes struct {
	mu     sync.Mutex
	orders []string
	sent   []string // messages
	apps   []api.App
	do     func(ctx context.Context, verb string, o api.Order) api.Outcome
	apply  func(ctx context.Context, s spec.Spec) api.ApplyResult
	logs   map[string]*output.Log
}

func (f *fakes) order(ctx context.Context, verb string, o api.Order) api.Outcome {
	f.mu.Lock()
	f.orders = append(f.orders, verb+" "+o.Selector)
	do := f.do
	f.mu.Unlock()
	if do != nil {
		return do(ctx, verb, o)
	}
	return api.Outcome{Results: []api.Result{{App: o.Selector, Text: verb + " done"}}}
}

func (f *fakes) Start(ctx context.Context, o api.Order) api.Outcome { return f.order(ctx, "start", o) }

func (f *fakes) Stop(ctx context.Context, o api.Order) api.Outcome { return f.order(ctx, "stop", o) }

func (f *fakes) Restart(ctx context.Context, o api.Order) api.Outcome {
	return f.order(ctx, "restart", o)
}

func (f *fakes) Reload(ctx context.Context, o api.Order) api.Outcome {
	return f.order(ctx, "reload", o)
}

func (f *fakes) Rollback(ctx context.Context, o api.Order) api.Outcome {
	return f.order(ctx, "rollback", o)
}

func (f *fakes) Scale(ctx context.Context, o api.Order) api.Outcome { return f.order(ctx, "scale", o) }

func (f *fakes) Signal(ctx context.Context, o api.Order) api.Outcome {
	return f.order(ctx, "signal", o)
}

func (f *fakes) SetPort(ctx context.Context, o api.SetPort) api.Outcome {
	return f.order(ctx, fmt.Sprintf("set port %s %d %v", o.Name, o.Port, o.Now), api.Order{Selector: o.Selector})
}

func (f *fakes) SetProbe(ctx context.Context, o api.SetProbe) api.Outcome {
	return f.order(ctx, "set probe "+o.Interval.String(), api.Order{Selector: o.Selector})
}

func (f *fakes) Message(ctx context.Context, m api.Message) api.Outcome {
	f.mu.Lock()
	f.sent = append(f.sent, string(m.Message))
	f.mu.Unlock()
	return f.order(ctx, "message", api.Order{Selector: m.Selector})
}

func (f *fakes) Spec() spec.Spec {
	s := goodSpec()
	s.Environ = []string{"API_TOKEN=hunter2hunter2"}
	return s
}

func (f *fakes) Diff(s spec.Spec) []spec.Change { return spec.Diff(f.Spec(), s) }

func (f *fakes) Apply(ctx context.Context, s spec.Spec) api.ApplyResult {
	if f.apply != nil {
		return f.apply(ctx, s)
	}
	return api.ApplyResult{Changes: f.Diff(s)}
}

func (f *fakes) status() api.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return api.Status{Project: "p", Node: "n1", AgentPID: os.Getpid(), Version: "1.0.0", Apps: append([]api.App(nil), f.apps...)}
}

func (f *fakes) log(app string) *output.Log {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.logs[app]
}

func goodSpec() spec.Spec {
	app := spec.DefaultApp("web")
	app.Command, app.Dir = []string{"sleep", "1"}, "/"
	return spec.Spec{Project: "p", Control: spec.Control{Mode: 0o600}, Apps: []spec.App{app}}
}

// rig is a Server on a real socket.
type rig struct {
	t      *testing.T
	fakes  *fakes
	hub    *event.Hub
	server *Server
	path   string
	end    context.CancelFunc
	done   chan error // Serve's result
}

// serve starts a Server; change (nil: none) may set options before.
func serve(t *testing.T, change func(*Options)) *rig {
	t.Helper()
	g := &rig{t: t, hub: &event.Hub{}, path: filepath.Join(tempDir(t), "c.sock"), done: make(chan error, 1)}
	g.fakes = &fakes{apps: []api.App{{Name: "web", Tags: []string{"edge"}}, {Name: "api"}}}
	o := Options{
		Status: g.fakes.status, Apply: g.fakes, Life: g.fakes, Pools: g.fakes,
		Launch: func(selector string) (api.Launch, error) {
			if selector == "web" {
				return api.Launch{Dir: "/srv", Env: []string{"A=1"}}, nil
			}
			return api.Launch{}, fault.New(fault.NoApp, "there is no app %q", selector)
		},
		Log: g.fakes.log, Events: g.hub, Version: "1.0.0", Node: "n1", Owner: os.Getuid(),
		Metrics:    http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "muster_up 1\n") }),
		Shutdown:   func(api.StopRequest) {},
		ReopenLogs: func() error { return nil },
		Set:        g.fakes,
		SessionKey: func() api.SessionKey { return api.SessionKey{Key: "k", Listen: "127.0.0.1:9009"} },
	}
	if change != nil {
		change(&o)
	}
	var err error
	if g.server, err = New(o); err != nil {
		t.Fatal(err)
	}
	l, err := socket.Listen(g.path, o.Group, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, g.end = context.WithCancel(context.Background())
	go func() { g.done <- g.server.Serve(ctx, l) }()
	t.Cleanup(func() { g.stop() })
	return g
}

// stop ends Serve and returns its result.
func (g *rig) stop() error {
	g.t.Helper()
	g.end()
	err := receive(g.t, g.done)
	g.done <- err
	return err
}

func (g *rig) client() *client.Client {
	return client.New(client.Options{Socket: g.path, Version: "1.0.0"})
}

// raw sends text as it is and returns all that comes back.
func (g *rig) raw(text string) string {
	g.t.Helper()
	c := g.dial()
	defer c.Close()
	io.WriteString(c, text)
	answer, _ := io.ReadAll(c)
	return string(answer)
}

func (g *rig) dial() net.Conn {
	g.t.Helper()
	c, err := net.Dial("unix", g.path)
	if err != nil {
		g.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	return c
}

// send asks without the client and returns status and body.
func (g *rig) send(method, path, body string) (*http.Response, string) {
	g.t.Helper()
	c := g.dial()
	defer c.Close()
	q, err := http.NewRequest(method, "http://muster"+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	q.Close = true
	go q.Write(c) // the answer may come before all of it is read
	answer, err := http.ReadResponse(bufio.NewReader(c), q)
	if err != nil {
		g.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		g.t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer, string(text)
}

// tempDir is short, as socket paths must be, and only for us.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ctl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("waited too long")
		panic("not reached")
	}
}

// eventually polls until f says yes.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s", what)
		}
		<-tick.C
	}
}

func wantCode(t *testing.T, err error, code fault.Code) *fault.Fault {
	t.Helper()
	var f *fault.Fault
	if !errors.As(err, &f) || f.Code != code {
		t.Fatalf("got %v, want a fault %s", err, code)
	}
	return f
}

// feed is an output.Source that gives what is sent to it.
type feed struct{ c chan string }

func (f *feed) Next(ctx context.Context) (int, []byte, time.Time, error) {
	select {
	case text, ok := <-f.c:
		if !ok {
			return 0, nil, time.Time{}, io.EOF
		}
		stream := 1
		if rest, isErr := strings.CutPrefix(text, "2:"); isErr {
			stream, text = 2, rest
		}
		return stream, []byte(text), time.Now(), nil
	case <-ctx.Done():
		return 0, nil, time.Time{}, ctx.Err()
	}
}
func (f *feed) Where() (pos, next int64, skipped int) { return 0, 0, 0 }
func (f *feed) Commit(pos int64, skip [2]int64) error { return nil }
func (f *feed) Close() error                          { return nil }

// printer makes a log for an app, and returns a function that prints one line
// ("2:…" to stderr) and returns once it is recorded.
func (g *rig) printer(app string, slot int) func(line string) {
	g.t.Helper()
	g.fakes.mu.Lock()
	defer g.fakes.mu.Unlock()
	if g.fakes.logs == nil {
		g.fakes.logs = map[string]*output.Log{}
	}
	if g.fakes.logs[app] == nil {
		set := spec.DefaultLog()
		set.Target, set.Lines = spec.LogNone, 10_000
		l, err := output.Open(output.Options{App: app, Log: set})
		if err != nil {
			g.t.Fatal(err)
		}
		g.t.Cleanup(func() { l.Close() })
		g.fakes.logs[app] = l
	}
	src, recorded := &feed{c: make(chan string)}, make(chan bool, 1)
	ctx, cancel := context.WithCancel(context.Background())
	a := g.fakes.logs[app].Attach(ctx, output.Worker{Slot: slot, PID: 1000 + slot}, src, func(api.Record) { recorded <- true })
	g.t.Cleanup(func() { cancel(); <-a.Done() })
	return func(line string) {
		g.t.Helper()
		select {
		case src.c <- line + "\n":
		case <-time.After(patience):
			g.t.Fatal("the log does not read")
		}
		receive(g.t, recorded)
	}
}

// childMain asks for the status and prints what comes of it.
func childMain(path string) int {
	_, err := client.New(client.Options{Socket: path}).Status(context.Background())
	fmt.Printf("%d %s", os.Getuid(), fault.CodeOf(err))
	return 0
}

// syncBuffer is a bytes.Buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func slogTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

func newRecorder() http.ResponseWriter { return httptest.NewRecorder() }
