package notifier

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process/processtest"
	"github.com/muster-run/muster/spec"
)

func TestMain(m *testing.M) {
	processtest.Setup()
	goleak.VerifyTestMain(m)
}

// got is one request that a receiver had.
type got struct{ path, body, title, media, secret string }

// receiver answers with status, and tells what it got.
func receiver(t *testing.T, status func(n int) int) (url string, c chan got) {
	t.Helper()
	c = make(chan got, 100)
	var n atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status(int(n.Add(1))))
		c <- got{r.URL.Path, string(text), r.Header.Get("Title"), r.Header.Get("Content-Type"), r.Header.Get("X-Secret")}
	}))
	t.Cleanup(s.Close)
	return s.URL, c
}

func always(status int) func(int) int { return func(int) int { return status } }

func next[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// rig is Notifiers over a Hub, and the results they publish.
type rig struct {
	*Notifiers
	hub     *event.Hub
	results <-chan event.Event
}

func start(t *testing.T, list ...spec.Notifier) *rig {
	t.Helper()
	hub := &event.Hub{}
	sub := hub.Subscribe(event.Now, 1000)
	n := New(Options{
		Project: "shop", Node: "n1", Hub: hub, Dir: t.TempDir(), Environ: os.Environ(), pauses: []time.Duration{time.Millisecond, time.Millisecond}, late: time.Millisecond,
		Session: func() (string, string) { return "k3y", "127.0.0.1:9009" },
	})
	t.Cleanup(func() { n.Close() })
	n.Apply(list)
	return &rig{n, hub, sub.C}
}

// result is the next event of a delivery.
func (r *rig) result(t *testing.T) event.Notified {
	t.Helper()
	for {
		if d, ok := next(t, r.results).Data.(event.Notified); ok {
			return d
		}
	}
}

func hook(name, url string) spec.Notifier {
	n := spec.DefaultNotifier(name)
	n.URL = url
	return n
}

// crash publishes how a worker dies and waits for its next start.
func (r *rig) crash(app string) {
	at := event.Event{Node: "n1", App: app, Slot: 1, PID: 7}
	for _, d := range []event.Data{
		event.WorkerCrash{Error: "boom \"x\"", Stack: "main.go:1", Type: "Error"},
		event.WorkerExit{Code: 3, Uptime: 2 * time.Second, Lines: []string{"a", "password=hunter2"}},
		event.WorkerState{From: event.Ready, To: event.Backoff, Why: "exit code 3"},
	} {
		at.Data = d
		r.hub.Publish(at)
	}
}

func (r *rig) state(app string, to event.State) {
	r.hub.Publish(event.Event{Node: "n1", App: app, Slot: 1, PID: 8, Data: event.WorkerState{To: to, Why: "10 failed starts"}})
}

// S1.8: the life of a worker as it is told.
func TestOccasions(t *testing.T) {
	url, c := receiver(t, always(200))
	r := start(t, hook("ops", url))
	r.hub.Publish(event.Event{Node: "n1", Slot: event.NoSlot, Data: event.AgentStarted{PID: 1}})
	r.hub.Publish(event.Event{Node: "n1", Slot: event.NoSlot, Data: event.AgentStarted{PID: 2, Before: 1}}) // a successor
	r.crash("web")
	r.crash("web") // not told again
	r.state("web", event.Ready)
	r.state("web", event.Ready)
	r.crash("web")
	r.state("web", event.Failed)
	r.state("web", event.Ready)
	var seen []string
	for range 6 {
		var n Note
		if err := json.Unmarshal([]byte(next(t, c).body), &n); err != nil {
			t.Fatal(err)
		}
		seen = append(seen, fmt.Sprintf("%s %s %d", n.Event, n.Worker, n.Failures))
		switch n.Event {
		case Started:
			if n.Key != "k3y" || n.Control != "127.0.0.1:9009" {
				t.Errorf("%+v", n)
			}
		case Crash:
			if n.Error != `boom "x"` || n.Stack != "main.go:1" || n.Code != 3 || n.PID != 7 || n.Output != "a\npassword=******" || n.Key != "" {
				t.Errorf("%+v", n)
			}
		}
		if d := r.result(t); d.Fault != nil || d.Occasion != n.Event || d.Notifier != "ops" {
			t.Errorf("%+v", d)
		}
	}
	want := "[started  0 crash web#1 1 recovered web#1 2 crash web#1 1 gave_up web#1 2 recovered web#1 2]"
	if fmt.Sprint(seen) != want {
		t.Errorf("%v, want %s", seen, want)
	}
}

// A worker that is replaced as it is not well is told of, too.
func TestNotWell(t *testing.T) {
	w := newWatch()
	at := event.Event{App: "web", Slot: 0, Data: event.Warning{Fault: *fault.New(fault.Heartbeat, "silent")}}
	if n := w.see(at); n == nil || n.Event != Crash || n.Error != "silent" {
		t.Errorf("%+v", n)
	}
	at.Data = event.Warning{Fault: *fault.New(fault.BadChannel, "odd")}
	if n := w.see(at); n != nil {
		t.Errorf("%+v", n)
	}
	at.Data = event.WorkerState{To: event.Stopped}
	if n := w.see(at); n != nil || len(w.troubles) != 0 {
		t.Errorf("%+v %v", n, w.troubles)
	}
}

// What is told, and what is the answer to somebody's order.
func TestWhatIsTold(t *testing.T) {
	w := newWatch()
	var told []string
	sees := func(generation int, list ...event.Data) {
		for _, d := range list {
			if n := w.see(event.Event{App: "web", Slot: 0, Generation: generation, PID: 10 + generation, Data: d}); n != nil {
				told = append(told, fmt.Sprintf("%s %s pid %d code %d", n.Event, n.Error, n.PID, n.Code))
			}
		}
	}
	wants := func(what string, list ...string) {
		t.Helper()
		if !slices.Equal(told, list) {
			t.Errorf("%s: told %q, want %q", what, told, list)
		}
		told = nil
	}
	trial := event.WorkerState{To: event.Failed, Trial: true, Why: "no"}
	sees(1, event.WorkerState{To: event.Ready})
	sees(2, event.WorkerState{To: event.Starting, Trial: true}, event.WorkerCrash{Error: "new"}, event.WorkerExit{Code: 3}, trial)
	wants("a reload that fails")
	sees(1, event.Warning{Fault: *fault.New(fault.Heartbeat, "silent")})
	wants("the old one afterwards, as itself", "crash silent pid 11 code 0")
	sees(2, event.WorkerExit{Code: 3}, trial)
	sees(1, event.WorkerState{To: event.Ready})
	wants("and it is well again", "recovered  pid 11 code 0")
	sees(1, event.WorkerState{To: event.Draining})
	sees(2, event.WorkerState{To: event.Ready}, event.WorkerExit{Code: 4}, event.WorkerState{To: event.Backoff, Why: "code 4"})
	sees(1, event.WorkerExit{Planned: true}, event.WorkerState{To: event.Stopped})
	sees(2, event.WorkerState{To: event.Ready})
	wants("the new one fails while the old one still drains", "crash code 4 pid 12 code 4", "recovered  pid 12 code 0")
	sees(3, event.WorkerExit{Code: 1}, event.WorkerState{To: event.Backoff, Why: "early"}, event.WorkerState{To: event.Failed, Why: "given up"})
	wants("given up while muster starts", "crash early pid 13 code 1", "gave_up given up pid 13 code 1")
	sees(4, event.WorkerState{To: event.Stopped}, event.WorkerExit{Code: 2}, event.WorkerState{To: event.Failed, Why: "the task failed"})
	wants("a task that fails", "gave_up the task failed pid 14 code 2")
}

// Whatever a worker says, the body keeps its shape.
func TestBodies(t *testing.T) {
	url, c := receiver(t, always(204))
	kinds := map[spec.NotifierKind]string{
		spec.NotifySlack: "text", spec.NotifyDiscord: "content", spec.NotifyTeams: "attachments", spec.NotifyWebhook: "own", spec.NotifyNtfy: "",
	}
	for kind, key := range kinds {
		s := hook(string(kind), url+"/"+string(kind))
		s.Type, s.Headers = kind, map[string]string{"X-Secret": "s"}
		if kind == spec.NotifyWebhook {
			s.Template = `{"own":"{{ error }}|{{nothing}}|{{code}}"}`
		}
		r := start(t, s)
		note := Note{Event: Crash, Worker: "web#1", Error: `"},{"x":"` + "\n" + strings.Repeat("é", 3000), Output: "\x00\x1b[31m", Code: 3}.clean()
		if err := r.deliver(t.Context(), r.list[s.Name], note); err != nil {
			t.Fatal(err)
		}
		g := next(t, c)
		if g.secret != "s" || g.path != "/"+string(kind) {
			t.Errorf("%+v", g)
		}
		if kind == spec.NotifyNtfy {
			if !strings.HasPrefix(g.body, "web#1 crashed") || g.title == "" || !strings.HasPrefix(g.media, "text/plain") {
				t.Errorf("%+v", g)
			}
			continue
		}
		var v map[string]any
		if err := json.Unmarshal([]byte(g.body), &v); err != nil || v[key] == nil {
			t.Errorf("%s: %v in %s", kind, err, g.body)
		}
		if text, ok := v["content"].(string); ok && len([]rune(text)) > 2000 {
			t.Errorf("Discord takes no %d characters", len(text))
		}
		if own, ok := v["own"].(string); ok && !strings.HasSuffix(own, "|{{nothing}}|3") {
			t.Error(own)
		}
	}
}

// What may help is tried again; what cannot is not. A redirect is not followed.
func TestTries(t *testing.T) {
	for _, x := range []struct {
		status func(int) int
		tries  int
		ok     bool
	}{
		{func(n int) int { return map[bool]int{true: 503, false: 200}[n < 3] }, 3, true},
		{always(429), 3, false},
		{always(404), 1, false},
		{always(302), 1, false},
	} {
		url, c := receiver(t, x.status)
		r := start(t, hook("ops", url+"/T0KEN"))
		err := r.Test(t.Context(), "ops")
		if (err == nil) != x.ok || len(c) != x.tries || (err != nil && fault.CodeOf(err) != fault.NotifyFailed) {
			t.Errorf("%v after %d tries", err, len(c))
		}
		if d := r.result(t); (d.Fault == nil) != x.ok || d.Occasion != Test {
			t.Errorf("%+v", d)
		}
	}
	r := start(t, hook("ops", "http://127.0.0.1:1/T0KEN"))
	if err := r.Test(t.Context(), "ops"); err == nil || strings.Contains(err.Error(), "T0KEN") {
		t.Error(err)
	}
	if err := r.Test(t.Context(), "nobody"); fault.CodeOf(err) != fault.NoApp {
		t.Error(err)
	}
}

// A receiver that hangs holds up nobody, and what waits for it is bounded.
func TestSlow(t *testing.T) {
	hang := make(chan bool)
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer s.Close()
	defer close(hang)
	url, c := receiver(t, always(200))
	slow, well := hook("slow", s.URL), hook("well", url)
	slow.Rate, well.Rate = 1000, 1000
	r := start(t, slow, well)
	for range 3 * queueMax {
		r.crash("web")
		r.state("web", event.Ready)
		for range 2 {
			next(t, c)
		}
	}
	r.mu.Lock()
	l := r.list["slow"]
	r.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.notes) != queueMax || l.held == 0 {
		t.Errorf("%d wait, %d were held", len(l.notes), l.held)
	}
}

// What is too much in a minute is counted, and told with the next one.
func TestRate(t *testing.T) {
	l := &line{Notifier: spec.Notifier{Rate: 2}, notes: make(chan Note, 10), tokens: 2, filled: time.Now()}
	for range 5 {
		l.push(Note{})
	}
	if len(l.notes) != 2 || l.held != 3 {
		t.Errorf("%d notes, %d held", len(l.notes), l.held)
	}
	l.filled = l.filled.Add(-time.Minute)
	l.push(Note{})
	<-l.notes
	<-l.notes
	if n := <-l.notes; n.Held != 3 || l.held != 0 {
		t.Errorf("%+v", n)
	}
}

// Of what is held the last is told when there is room, one that says that a worker was
// given up before all others: perhaps nothing happens after it.
func TestHeld(t *testing.T) {
	l := &line{Notifier: spec.Notifier{Rate: 1}, notes: make(chan Note, 10), tokens: 1, filled: time.Now()}
	l.push(Note{Event: Crash})
	<-l.notes
	l.push(Note{Event: GaveUp, App: "a"})
	l.push(Note{Event: GaveUp, App: "b"})
	l.push(Note{Event: Crash, App: "c"})
	if l.release(); len(l.notes) != 0 {
		t.Error("there was no room")
	}
	l.filled = l.filled.Add(-time.Minute)
	l.release()
	if n := <-l.notes; n.App != "b" || n.Held != 2 || l.held != 0 {
		t.Errorf("%+v", n)
	}
	l.filled = l.filled.Add(-time.Minute)
	if l.release(); len(l.notes) != 0 {
		t.Error("it was told twice")
	}

	url, c := receiver(t, always(200))
	ops := hook("ops", url)
	ops.Rate = 600
	r := start(t, ops)
	ours := r.list["ops"]
	ours.mu.Lock()
	ours.tokens, ours.filled = 0, time.Now()
	ours.mu.Unlock()
	r.crash("web")
	if g := next(t, c); !strings.Contains(g.body, "web#1") {
		t.Errorf("%+v", g)
	}
	r.result(t)
}

// What a receiver answers may repeat our own secrets, and a time out says what it was.
func TestRefusals(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hang" {
			_, _ = io.ReadAll(r.Body) // else the end of the client is not seen
			<-r.Context().Done()
			return
		}
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "no\n%s for %s %s\x1b[31m", r.URL.RequestURI(), r.Header.Get("Authorization"), strings.Repeat("z", 3000))
	}))
	defer s.Close()
	said := hook("said", strings.Replace(s.URL, "//", "//user:pass@", 1)+"/T0KEN1/T0KEN2?key=T0KEN3")
	said.Headers = map[string]string{"Authorization": "Bearer T0KEN4"}
	hang := hook("hang", s.URL+"/hang")
	hang.Timeout = spec.Duration(50 * time.Millisecond)
	slow, silent := spec.DefaultNotifier("slow"), spec.DefaultNotifier("silent")
	slow.Type, slow.Command, slow.Timeout = spec.NotifyCommand, []string{"sleep", "100"}, spec.Duration(50*time.Millisecond)
	silent.Type, silent.Command = spec.NotifyCommand, []string{"false"}
	r := start(t, said, hang, slow, silent)
	for name, want := range map[string]string{
		"said": `the answer is 403 Forbidden: "no `, "hang": "no answer within 50ms",
		"slow": "the command was killed: it had not ended within 50ms", "silent": "the command ended with code 1 (",
	} {
		err := r.Test(t.Context(), name)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
		if text := fmt.Sprint(err, r.result(t).Fault); strings.Contains(text, "T0KEN") || len(text) > 1000 {
			t.Errorf("%s: %s", name, text)
		}
	}
}

func TestWants(t *testing.T) {
	for _, x := range []struct {
		on, apps []string
		note     Note
		want     bool
	}{
		{nil, nil, Note{Event: Crash, App: "web"}, true},
		{[]string{Crash}, nil, Note{Event: GaveUp, App: "web"}, false},
		{nil, []string{"we*"}, Note{Event: Crash, App: "web"}, true},
		{nil, []string{"api"}, Note{Event: Crash, App: "web"}, false},
		{nil, []string{"api"}, Note{Event: Started}, true},
	} {
		l := &line{Notifier: spec.Notifier{On: x.on, Apps: x.apps}}
		if l.wants(x.note) != x.want {
			t.Errorf("%+v", x)
		}
	}
}

// Those that stay keep what waits for them, those that go end.
func TestApply(t *testing.T) {
	url, c := receiver(t, always(200))
	a, b := hook("a", url), hook("b", url)
	r := start(t, a, b)
	before := r.list["a"]
	b.Rate = 7
	r.Apply([]spec.Notifier{a, b})
	if r.list["a"] != before || r.list["b"].Rate != 7 {
		t.Error("a was begun anew, or b was not")
	}
	r.Apply([]spec.Notifier{b})
	if names := r.Names(); len(names) != 1 {
		t.Error(names)
	}
	r.crash("web")
	next(t, c)
	r.result(t)
	if len(c) != 0 {
		t.Error("a still speaks")
	}
}

func TestCommand(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	s := spec.DefaultNotifier("sh")
	s.Type, s.Command = spec.NotifyCommand, []string{"/bin/sh", "-c", `cat >"$0"; echo "$MUSTER_EVENT $MUSTER_PROJECT" >>"$0"`, out}
	r := start(t, s)
	if err := r.Test(t.Context(), "sh"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out)
	if err != nil || !strings.HasPrefix(string(text), `{"event":"test"`) || !strings.HasSuffix(string(text), "\ntest shop\n") {
		t.Errorf("%q %v", text, err)
	}
	s.Command = []string{"/bin/sh", "-c", "echo no luck; exit 4"}
	r.Apply([]spec.Notifier{s})
	if err := r.Test(t.Context(), "sh"); err == nil || !strings.Contains(err.Error(), "code 4: no luck") {
		t.Error(err)
	}
	s.Command, s.Timeout = []string{"sleep", "600"}, spec.Duration(50*time.Millisecond)
	r.Apply([]spec.Notifier{s})
	if err := r.Test(t.Context(), "sh"); err == nil || !strings.Contains(err.Error(), "had not ended within 50ms") {
		t.Error(err)
	}
}

// mailServer takes mail without TLS and tells what it got.
func mailServer(t *testing.T) (address string, c chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c = make(chan string, 10)
	go func() { // ends with the listener
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go talk(conn, c)
		}
	}()
	return l.Addr().String(), c
}

// talk is the least of RFC 5321 that a client needs.
func talk(conn net.Conn, c chan<- string) {
	defer conn.Close()
	var all strings.Builder
	in := bufio.NewReader(conn)
	fmt.Fprint(conn, "220 x\r\n")
	data := false
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		all.WriteString(line)
		switch {
		case data && line == ".\r\n":
			data = false
			c <- all.String()
			fmt.Fprint(conn, "250 ok\r\n")
		case data:
		case strings.HasPrefix(line, "EHLO"):
			fmt.Fprint(conn, "250-x\r\n250 8BITMIME\r\n")
		case strings.HasPrefix(line, "DATA"):
			data = true
			fmt.Fprint(conn, "354 go\r\n")
		case strings.HasPrefix(line, "QUIT"):
			fmt.Fprint(conn, "221 bye\r\n")
			return
		default:
			fmt.Fprint(conn, "250 ok\r\n")
		}
	}
}

func TestEmail(t *testing.T) {
	address, c := mailServer(t)
	s := spec.DefaultNotifier("mail")
	s.Type, s.Server, s.From, s.To = spec.NotifyEmail, address, "muster@example.org", []string{"a@example.org", "b@example.org"}
	r := start(t, s)
	if err := r.Test(t.Context(), "mail"); err != nil {
		t.Fatal(err)
	}
	text := next(t, c)
	for _, want := range []string{"RCPT TO:<a@example.org>", "RCPT TO:<b@example.org>", "Subject: a test of muster's notifier (shop on n1)"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	s.Server = "127.0.0.1:1"
	r.Apply([]spec.Notifier{s})
	if err := r.Test(t.Context(), "mail"); fault.CodeOf(err) != fault.NotifyFailed {
		t.Error(err)
	}
}
