package control

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

var update = flag.Bool("update", false, "write the golden files")

// The routes are a promise: this list only grows within v1.
func TestRoutesGolden(t *testing.T) {
	var b strings.Builder
	for _, r := range Routes() {
		fmt.Fprintf(&b, "%-4s %-16s %-7s", r.Method, r.Path, r.Access)
		for _, p := range r.Query {
			fmt.Fprintf(&b, " ?%s", p.Name)
		}
		for _, t := range []reflect.Type{r.in, r.out} {
			if t != nil {
				fmt.Fprintf(&b, " %s", t)
			}
		}
		fmt.Fprintf(&b, " %s\n", r.media)
	}
	file := filepath.Join("testdata", "routes.txt")
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), b.String()); d != "" {
		t.Errorf("the routes have changed (-update writes them):\n%s", d)
	}
}

func TestRoutesHaveNoTwins(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Routes() {
		key := r.Method + " " + r.Path
		if seen[key] || r.run == nil || r.Text == "" || r.media == "" {
			t.Errorf("%s is there twice or not complete", key)
		}
		seen[key] = true
		if r.Method == "GET" && r.Access == Admin {
			t.Errorf("%s: a GET ends nothing", key)
		}
	}
}

// Every route does its work through the client.
func TestRoutesGood(t *testing.T) {
	g := serve(t, nil)
	g.printer("web", 0)("hello")
	c, ctx := g.client(), t.Context()
	order := api.Order{Selector: "web", Signal: "SIGHUP", Workers: 2}
	for name, f := range map[string]func(context.Context, api.Order) (api.Outcome, error){
		"start": c.Start, "stop": c.Stop, "restart": c.Restart, "reload": c.Reload,
		"rollback": c.Rollback, "scale": c.Scale, "signal": c.Signal,
	} {
		out, err := f(ctx, order)
		if err != nil || len(out.Results) != 1 || out.Results[0].Text != name+" done" {
			t.Errorf("%s: got %+v, %v", name, out, err)
		}
	}
	if st, err := c.Status(ctx); err != nil || len(st.Apps) != 2 || st.AgentPID != os.Getpid() {
		t.Errorf("status: got %+v, %v", st, err)
	}
	if l, err := c.Launch(ctx, "web"); err != nil || l.Dir != "/srv" {
		t.Errorf("launch: got %+v, %v", l, err)
	}
	if v, err := c.Version(ctx); err != nil || v.Version != "1.0.0" || v.PID != os.Getpid() || v.Instance == "" || v.API != 1 {
		t.Errorf("version: got %+v, %v", v, err)
	}
	var b strings.Builder
	if err := c.Metrics(ctx, &b); err != nil || b.String() != "muster_up 1\n" {
		t.Errorf("metrics: got %q, %v", b.String(), err)
	}
	if err := c.ReopenLogs(ctx); err != nil {
		t.Errorf("reopen-logs: %v", err)
	}
	if err := c.Shutdown(ctx, api.StopRequest{Reason: "test"}); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if answer, text := g.send("POST", "/v1/reopen-logs", ""); answer.StatusCode != 200 {
		t.Errorf("reopen-logs without a body: %d %s", answer.StatusCode, text)
	}
}

func TestSpecIsMasked(t *testing.T) {
	g := serve(t, nil)
	for secrets, want := range map[bool]bool{false: false, true: true} {
		s, err := g.client().Spec(t.Context(), secrets)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(strings.Join(s.Environ, " "), "hunter2"); got != want || len(s.Environ) != 1 {
			t.Errorf("secrets %v: got %q", secrets, s.Environ)
		}
	}
}

func TestDiffAndApply(t *testing.T) {
	g := serve(t, nil)
	var applied spec.Spec
	g.fakes.apply = func(_ context.Context, s spec.Spec) api.ApplyResult {
		applied = s
		return api.ApplyResult{Changes: spec.Diff(g.fakes.Spec(), s)}
	}
	next := g.fakes.Spec()
	next.Apps[0].Workers = 3
	changes, err := g.client().Diff(t.Context(), next)
	if err != nil || len(changes) != 1 || changes[0].Action != spec.ScaleApp {
		t.Fatalf("diff: got %+v, %v", changes, err)
	}
	if answer, text := g.send("POST", "/v1/apply", mustJSON(t, api.ApplyRequest{Spec: next, DryRun: true})); answer.StatusCode != 200 || applied.Apps != nil {
		t.Errorf("a dry run is none: %s", text)
	}
	out, err := g.client().Apply(t.Context(), next)
	if err != nil || len(out.Changes) != 1 {
		t.Fatalf("apply: got %+v, %v", out, err)
	}
	if d := cmp.Diff(next, applied); d != "" {
		t.Errorf("the spec has changed on its way:\n%s", d)
	}
	if changes, err := g.client().Diff(t.Context(), g.fakes.Spec()); err != nil || changes == nil || len(changes) != 0 {
		t.Errorf("no change: got %#v, %v", changes, err)
	}
}

// A spec that breaks a rule changes nothing that runs (S1.4).
func TestBadSpecIsRefused(t *testing.T) {
	g := serve(t, nil)
	g.fakes.apply = func(context.Context, spec.Spec) api.ApplyResult { panic("must not be called") }
	bad := goodSpec()
	bad.File = "/srv/muster.yaml"
	bad.Apps[0].Workers = -1
	bad.Apps[0].Command = nil
	_, err := g.client().Apply(t.Context(), bad)
	f := wantCode(t, err, fault.Config)
	if !strings.Contains(f.Text, "workers") || !strings.Contains(f.Text, "command") || f.Where != bad.File {
		t.Errorf("not every problem is told: %q at %q", f.Text, f.Where)
	}
	_, err = g.client().Diff(t.Context(), bad)
	wantCode(t, err, fault.Config)
}

// What came of an order is told in the body, its HTTP status and the client alike.
func TestFailedOutcome(t *testing.T) {
	bad := fault.New(fault.ReloadFailed, "new worker failed").At("web#0").WithOutput([]string{"Traceback", "boom"})
	for _, c := range []struct {
		name    string
		results []api.Result
		status  int
		code    fault.Code
	}{
		{"one", []api.Result{{App: "web", Fault: bad}}, 422, fault.ReloadFailed},
		{"some", []api.Result{{App: "web", Fault: bad}, {App: "api"}}, 422, fault.Partly},
		{"none there", []api.Result{{App: "x", Fault: fault.New(fault.NoApp, "no x")}}, 404, fault.NoApp},
		{"killed", []api.Result{{App: "x", Fault: fault.New(fault.StopKilled, "killed")}}, 200, fault.StopKilled},
		{"timeout", []api.Result{{App: "x", Fault: fault.New(fault.Timeout, "late")}}, 504, fault.Timeout},
		{"stopped", []api.Result{{App: "x", Fault: fault.New(fault.NotRunning, "stopped")}}, 409, fault.NotRunning},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := serve(t, nil)
			g.fakes.do = func(context.Context, string, api.Order) api.Outcome { return api.Outcome{Results: c.results} }
			g.fakes.apply = func(context.Context, spec.Spec) api.ApplyResult {
				return api.ApplyResult{Outcome: api.Outcome{Results: c.results}}
			}
			out, err := g.client().Reload(t.Context(), api.Order{Selector: "all"})
			if err != nil || fault.CodeOf(out.Fault()) != c.code {
				t.Fatalf("got %+v, %v", out, err)
			}
			if d := cmp.Diff(c.results, out.Results, cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Err" }, cmp.Ignore())); d != "" {
				t.Error(d)
			}
			answer, text := g.send("POST", "/v1/reload", `{"selector":"all"}`)
			var body api.Failure
			if json.Unmarshal([]byte(text), &body) != nil || body.Error == nil || body.Error.Code != c.code || answer.StatusCode != c.status {
				t.Errorf("got %d %s", answer.StatusCode, text)
			}
			applied, err := g.client().Apply(t.Context(), goodSpec())
			if err != nil || fault.CodeOf(applied.Fault()) != c.code {
				t.Errorf("apply: got %+v, %v", applied, err)
			}
		})
	}
}

func TestRequestsRefused(t *testing.T) {
	g := serve(t, nil)
	for _, c := range []struct {
		method, path, body string
		status             int
		code               fault.Code
		text               string
	}{
		{"POST", "/v1/reload", `{"selector":"web","gently":true}`, 400, fault.Usage, `"gently"`},
		{"POST", "/v1/reload", ``, 400, fault.Usage, "no body"},
		{"POST", "/v1/reload", `{"selector":"web"} {}`, 400, fault.Usage, "goes on"},
		{"POST", "/v1/reload", `{"selector":"web"}x`, 400, fault.Usage, "goes on"},
		{"POST", "/v1/reload", `{"selector":1}`, 400, fault.Usage, "selector"},
		{"POST", "/v1/reload", `{"selector"`, 400, fault.Usage, "cannot read"},
		{"POST", "/v1/reload", `[]`, 400, fault.Usage, "cannot read"},
		{"POST", "/v1/reload", "\x00\xff", 400, fault.Usage, "cannot read"},
		{"POST", "/v1/reload", strings.Repeat("[", 100_000), 400, fault.Usage, "cannot read"},
		{"POST", "/v1/stop", `{}`, 400, fault.Usage, "selector is missing"},
		{"POST", "/v1/scale", `{"selector":"web","workers":-1}`, 400, fault.Usage, "workers is -1"},
		{"POST", "/v1/signal", `{"selector":"web"}`, 400, fault.Usage, "signal is missing"},
		{"POST", "/v1/apply", `{"spec":{"apps":[{"name":"web","comand":["x"]}]}}`, 400, fault.Usage, `"comand"`},
		{"POST", "/v1/apply", `{}`, 400, fault.Config, "project"},
		{"POST", "/v1/shutdown", `{"exitcode":1}`, 400, fault.Usage, `"exitcode"`},
		{"GET", "/v1/launch", ``, 400, fault.Usage, "selector is missing"},
		{"GET", "/v1/launch?selector=x", ``, 404, fault.NoApp, `"x"`},
		{"GET", "/v1/spec?secrets=maybe", ``, 400, fault.Usage, `"maybe"`},
		{"GET", "/v1/logs", ``, 400, fault.Usage, "selector is missing"},
		{"GET", "/v1/logs?selector=x", ``, 404, fault.NoApp, `"x"`},
		{"GET", "/v1/logs?selector=web%23x", ``, 400, fault.Usage, `"web#x"`},
		{"GET", "/v1/logs?selector=web&n=ten", ``, 400, fault.Usage, `"ten"`},
		{"GET", "/v1/logs?selector=web&follow=2", ``, 400, fault.Usage, `"2"`},
		{"GET", "/v1/logs?selector=web&stream=both", ``, 400, fault.Usage, `"both"`},
		{"GET", "/v1/logs?selector=web&since=monday", ``, 400, fault.Usage, `"monday"`},
		{"GET", "/v1/logs?selector=web&since=-5m", ``, 400, fault.Usage, `"-5m"`},
		{"GET", "/v1/events?after=-1", ``, 400, fault.Usage, `"-1"`},
		{"GET", "/v1/events?follow=x", ``, 400, fault.Usage, `"x"`},
		{"GET", "/v1/nothing", ``, 404, fault.Usage, "this agent (1.0.0) has no GET /v1/nothing"},
		{"GET", "/", ``, 404, fault.Usage, "no GET /"},
		{"GET", "//v1/status", ``, 404, fault.Usage, "no GET"},
		{"DELETE", "/v1/status", ``, 405, fault.Usage, "DELETE"},
		{"GET", "/v1/reload", ``, 405, fault.Usage, "GET"},
	} {
		answer, text := g.send(c.method, c.path, c.body)
		var f api.Failure
		if err := json.Unmarshal([]byte(text), &f); err != nil || f.Error == nil {
			t.Errorf("%s %s: no fault in %q", c.method, c.path, text)
			continue
		}
		if answer.StatusCode != c.status || f.Error.Code != c.code || !strings.Contains(f.Error.Text, c.text) || f.Error.Fix == "" {
			t.Errorf("%s %s %.40q: got %d %+v, want %d %s %q and a fix", c.method, c.path, c.body, answer.StatusCode, f.Error, c.status, c.code, c.text)
		}
		if answer.Header.Get(api.VersionHeader) != "1.0.0" {
			t.Errorf("%s %s: no %s", c.method, c.path, api.VersionHeader)
		}
	}
	g.fakes.mu.Lock()
	defer g.fakes.mu.Unlock()
	if len(g.fakes.orders) != 0 || len(g.hub.Past()) != 0 {
		t.Errorf("a refused request was carried out or published: %v %v", g.fakes.orders, g.hub.Past())
	}
}

func TestAllowNamesTheVerb(t *testing.T) {
	g := serve(t, nil)
	if answer, _ := g.send("PUT", "/v1/reload", ""); answer.Header.Get("Allow") != "POST" {
		t.Errorf("Allow is %q", answer.Header.Get("Allow"))
	}
}

func TestHead(t *testing.T) {
	g := serve(t, func(o *Options) { o.Operations = exchanging{} })
	g.printer("web", 0)("x")
	for _, r := range Routes() {
		if r.Method != "GET" || r.Path == "/v1/join" { // which gives the connection away
			continue
		}
		path := r.Path
		for _, p := range r.Query {
			if p.Name == "selector" {
				path += "?follow=1&selector=web"
			}
		}
		if answer, text := g.send("HEAD", path, ""); answer.StatusCode != 200 || text != "" {
			t.Errorf("HEAD %s: %d %q", path, answer.StatusCode, text)
		}
	}
}

// A client of another version is told that this is why it is not understood.
func TestSkewInARefusal(t *testing.T) {
	g := serve(t, nil)
	answer := g.raw("POST /v1/reload HTTP/1.1\r\nHost: x\r\nConnection: close\r\nMuster-Version: 2.0.0\r\nContent-Length: 24\r\n\r\n" + `{"selector":"web","x":1}`)
	if !strings.Contains(answer, "400") || !strings.Contains(answer, "the client is muster 2.0.0, this agent 1.0.0") {
		t.Error(answer)
	}
}

func TestSkewIsToldOnce(t *testing.T) {
	g := serve(t, nil)
	var told []string
	c := client.New(client.Options{Socket: g.path, Version: "0.9", SkewWarning: func(agent, own string) { told = append(told, agent+" "+own) }})
	for range 3 {
		if _, err := c.Status(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(told, []string{"1.0.0 0.9"}) {
		t.Errorf("told %q", told)
	}
}

func TestNotOffered(t *testing.T) {
	g := serve(t, func(o *Options) { o.Metrics, o.Log, o.Shutdown, o.ReopenLogs = nil, nil, nil, nil })
	for path, method := range map[string]string{"/metrics": "GET", "/v1/logs": "GET", "/v1/shutdown": "POST", "/v1/reopen-logs": "POST"} {
		if answer, text := g.send(method, path, "{}"); answer.StatusCode != 404 {
			t.Errorf("%s: %d %s", path, answer.StatusCode, text)
		}
	}
}

// Each order is published with its giver, before it is carried out.
func TestOrdersArePublished(t *testing.T) {
	g := serve(t, nil)
	published := -1
	g.fakes.do = func(context.Context, string, api.Order) api.Outcome {
		published = len(g.hub.Past())
		return api.Outcome{}
	}
	ctx, c := t.Context(), g.client()
	if _, err := c.Stop(ctx, api.Order{Selector: "web#1"}); err != nil || published != 1 {
		t.Fatalf("published %d before, %v", published, err)
	}
	file := goodSpec()
	file.File = "/srv/muster.yaml"
	if _, err := c.Apply(ctx, file); err != nil {
		t.Fatal(err)
	}
	if err := c.Shutdown(ctx, api.StopRequest{Reason: "enough"}); err != nil {
		t.Fatal(err)
	}
	if err := c.ReopenLogs(ctx); err != nil {
		t.Fatal(err)
	}
	by := fmt.Sprintf("uid %d pid %d", os.Getuid(), os.Getpid())
	var got []event.Data
	for _, e := range g.hub.Past() {
		if e.Slot != event.NoSlot || e.Node != "n1" {
			t.Errorf("event %+v is not about the agent of n1", e)
		}
		got = append(got, e.Data)
	}
	want := []event.Data{
		event.Order{Verb: "stop", Target: "web#1", By: by},
		event.Order{Verb: "apply", Target: "/srv/muster.yaml", By: by},
		event.Order{Verb: "shutdown", Target: "enough", By: by},
		event.Order{Verb: "reopen-logs", By: by},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestStatusOf(t *testing.T) {
	for _, e := range fault.Table() {
		got := statusOf(e.Code)
		if (got < 400) != (e.Exit == 0) || http.StatusText(got) == "" {
			t.Errorf("%s with exit code %d has status %d", e.Code, e.Exit, got)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("options without anything were taken")
	}
	f := &fakes{}
	o := Options{
		Status: f.status, Apply: f, Life: f, Pools: f, Events: &event.Hub{},
		Launch: func(string) (api.Launch, error) { return api.Launch{}, nil }, Group: "no-such-group",
	}
	_, err := New(o)
	wantCode(t, err, fault.UserUnknown)
}

// Kinds is what UnmarshalJSON knows.
func TestKindsAreDecoded(t *testing.T) {
	for _, d := range event.Kinds() {
		var e event.Event
		text := mustJSON(t, event.Event{Type: d.Kind(), Data: d})
		if err := json.Unmarshal([]byte(text), &e); err != nil || reflect.TypeOf(e.Data) != reflect.TypeOf(d) {
			t.Errorf("%s: got %T, %v", d.Kind(), e.Data, err)
		}
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
