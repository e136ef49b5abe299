package control

import (
	"encoding/json"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// S1.9: with the session key a few routes are there, and answer as on the socket.
func TestKeyed(t *testing.T) {
	stopped := make(chan api.StopRequest, 1)
	g := serve(t, func(o *Options) { o.Shutdown = func(r api.StopRequest) { stopped <- r } })
	keyed := g.server.Keyed()
	ask := func(method, path, body string) (int, string) {
		r, w := httptest.NewRequest(method, path, strings.NewReader(body)), httptest.NewRecorder()
		keyed.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	for _, r := range Routes() {
		line := r.Method + " " + r.Path
		code, text := ask(r.Method, r.Path, `{"selector":"web"}`)
		if open := slices.Contains(keyedRoutes(), line); !open && code != 404 || open && code == 404 {
			t.Errorf("%s: %d %s", line, code, text)
		}
	}
	for _, c := range []struct {
		method, path, body string
		code               int
		say                string
	}{
		{"GET", "/v1/version", "", 200, `"version":"1.0.0"`},
		{"POST", "/v1/stop", `{"selector":"web"}`, 200, "stop done"},
		{"POST", "/v1/restart", `{"selector":"role:worker"}`, 200, "restart done"},
		{"POST", "/v1/stop", `{}`, 400, "selector is missing"},
		{"POST", "/v1/stop", `{"selectr":"web"}`, 400, "unknown field"},
		{"POST", "/v1/shutdown", `{"exit_code":300}`, 400, "exit code 300 cannot be"},
		{"POST", "/v1/shutdown", `{"exit_code":-1}`, 400, "exit code -1 cannot be"},
		{"GET", "/v1/stop", ``, 404, "ask for one of GET /v1/version, POST /v1/stop,"},
		{"HEAD", "/v1/version", ``, 404, ""},
		{"GET", "/v1/../v1/status", ``, 404, ""},
		{"GET", "/v1/session-key", ``, 404, ""},
	} {
		if code, text := ask(c.method, c.path, c.body); code != c.code || !strings.Contains(text, c.say) {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, code, text)
		}
	}
	if code, text := ask("POST", "/v1/shutdown", `{"reason":"enough","exit_code":3}`); code != 200 {
		t.Errorf("%d %s", code, text)
	}
	if r := receive(t, stopped); r != (api.StopRequest{Reason: "enough", ExitCode: 3}) {
		t.Errorf("%+v", r)
	}
	for _, e := range g.hub.Past() {
		if o, ok := e.Data.(event.Order); !ok || !strings.HasPrefix(o.By, "session key from ") {
			t.Errorf("%+v", e.Data)
		}
	}
}

// S1.10, S1.11: settings are orders like others.
func TestSet(t *testing.T) {
	g := serve(t, nil)
	c := g.client()
	if out, err := c.SetPort(t.Context(), api.SetPort{Selector: "web", Name: "http", Port: 9000, Now: true}); err != nil || len(out.Results) != 1 {
		t.Error(out, err)
	}
	if out, err := c.SetProbe(t.Context(), api.SetProbe{Selector: "web", Interval: spec.Duration(5 * time.Second)}); err != nil || len(out.Results) != 1 {
		t.Error(out, err)
	}
	if k, err := c.SessionKey(t.Context()); err != nil || k != (api.SessionKey{Key: "k", Listen: "127.0.0.1:9009"}) {
		t.Error(k, err)
	}
	want := []string{"set port http 9000 true web", "set probe 5s web"}
	if !slices.Equal(g.fakes.orders, want) {
		t.Errorf("%q, want %q", g.fakes.orders, want)
	}
	var told []string
	for _, e := range g.hub.Past() {
		o := e.Data.(event.Order)
		told = append(told, o.Verb+" / "+o.Target)
	}
	if want := []string{"set port http 9000 / web", "set probe 5s / web"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	for _, c := range []struct{ path, body string }{
		{"/v1/set-port", `{"name":"http","port":1}`},
		{"/v1/set-port", `{"selector":"web","port":1}`},
		{"/v1/set-probe", `{"interval":"1s"}`},
		{"/v1/set-probe", `{"selector":"web","interval":"-1s"}`},
		{"/v1/set-probe", `{"selector":"web","interval":5}`},
	} {
		answer, text := g.send("POST", c.path, c.body)
		var f api.Failure
		if json.Unmarshal([]byte(text), &f) != nil || answer.StatusCode != 400 || f.Error.Code != fault.Usage {
			t.Errorf("%s %s: %d %s", c.path, c.body, answer.StatusCode, text)
		}
	}
	bare := serve(t, func(o *Options) { o.Set, o.SessionKey = nil, nil })
	for path, method := range map[string]string{"/v1/set-port": "POST", "/v1/set-probe": "POST", "/v1/session-key": "GET"} {
		if answer, text := bare.send(method, path, `{"selector":"web"}`); answer.StatusCode != 404 {
			t.Errorf("%s: %d %s", path, answer.StatusCode, text)
		}
	}
}
