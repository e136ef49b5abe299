package agent

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// freePort is an address that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// post asks over HTTP with a key; code 0: nobody listens.
func post(t *testing.T, address, key, path, body string) (code int, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+address+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	r.Close = true
	answer, err := (&http.Client{Transport: &http.Transport{}}).Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	all, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(all)
}

// opened waits until an agent's key is accepted there.
func (r *subject) opened(address string) {
	r.t.Helper()
	end := time.After(deadline)
	for r.SessionKey().Listen != address {
		select {
		case <-end:
			r.t.Fatalf("the key is accepted at %q, not at %q", r.SessionKey().Listen, address)
		case <-time.After(time.Millisecond):
		}
	}
}

// S1.9: 128 random bits, others for each session.
func TestSessionKey(t *testing.T) {
	s, other := newSite(t), newSite(t)
	one, two := start(t, s.options()), start(t, other.options())
	a, b := one.SessionKey(), two.SessionKey()
	if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(a.Key) || a.Key == b.Key || a.Listen != "" {
		t.Errorf("%v, %v", a, b)
	}
}

// S1.9: the key stops, restarts and ends from outside; nothing of it is told.
func TestKeyedOrders(t *testing.T) {
	s, address := newSite(t), freePort(t)
	o := s.options(s.sh("web", server))
	o.Spec.Control.Listen = address
	r := start(t, o)
	r.state("web#0", event.Ready)
	r.opened(address)
	key := r.SessionKey().Key
	if code, text := post(t, address, "wrong", "/v1/stop", `{"selector":"web"}`); code != 401 {
		t.Errorf("%d %s", code, text)
	}
	if code, text := post(t, address, key, "/v1/restart", `{"selector":"web"}`); code != 200 {
		t.Errorf("%d %s", code, text)
	}
	order := r.until("the order", func(e event.Event) bool { _, ok := e.Data.(event.Order); return ok }).Data.(event.Order)
	if order.Verb != "restart" || order.Target != "web" || !strings.HasPrefix(order.By, "session key from 127.0.0.1:") {
		t.Errorf("%+v", order)
	}
	if code, text := post(t, address, key, "/v1/stop", `{"selector":"web"}`); code != 200 {
		t.Errorf("%d %s", code, text)
	}
	if status := fmt.Sprintf("%+v %+v", r.Status(), r.Spec()); strings.Contains(status, key) {
		t.Error("the status holds the key")
	}
	for _, e := range r.Events().Past() {
		if strings.Contains(fmt.Sprintf("%+v", e), key) {
			t.Errorf("an event holds the key: %+v", e)
		}
	}
	if code, text := post(t, address, key, "/v1/shutdown", `{"reason":"enough","exit_code":7}`); code != 200 {
		t.Errorf("%d %s", code, text)
	}
	if code, err := r.ended(); code != 7 || err != nil {
		t.Errorf("ended with %d, %v", code, err)
	}
	if code, _ := post(t, address, key, "/v1/version", ""); code != 0 {
		t.Errorf("somebody still listens: %d", code)
	}
}

// control.listen is moved, added and removed live; one that cannot be had changes
// nothing.
func TestKeyedFollowsApply(t *testing.T) {
	s, one, two := newSite(t), freePort(t), freePort(t)
	r := start(t, s.options(s.sh("web", server)))
	r.state("web#0", event.Ready)
	apply := func(address string) *fault.Fault {
		next := s.spec(s.sh("web", server))
		next.Control.Listen = address
		return r.Apply(context.Background(), next).Fault()
	}
	key := r.SessionKey().Key
	for _, address := range []string{one, two, two, "", one} {
		if f := apply(address); f != nil {
			t.Fatal(f)
		}
		for _, a := range []string{one, two} {
			code, _ := post(t, a, key, "/v1/stop", `{}`)
			if open := code != 0; open != (a == address) {
				t.Errorf("with %q: %s answers %d", address, a, code)
			}
		}
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	if f := apply(busy.Addr().String()); fault.CodeOf(f) != fault.PortInUse {
		t.Errorf("%v", f)
	}
	if at := r.SessionKey().Listen; at != one || r.Spec().Control.Listen != one {
		t.Errorf("at %q, spec %q", at, r.Spec().Control.Listen)
	}
	// What is refused for another reason does not move it either.
	bad := s.spec(s.sh("web", server))
	bad.Apps[0].User, bad.Control.Listen = "nobody-of-that-name", two
	if f := r.Apply(context.Background(), bad).Fault(); fault.CodeOf(f) != fault.UserUnknown {
		t.Errorf("%v", f)
	}
	if code, _ := post(t, two, key, "/v1/stop", "{}"); code != 0 || r.SessionKey().Listen != one {
		t.Errorf("it moved: %d, %q", code, r.SessionKey().Listen)
	}
}

// The next agent has the same key and the same socket: who asks meanwhile waits.
func TestKeyedOutlivesTheAgent(t *testing.T) {
	s, k, address := newSite(t), newStand(t), freePort(t)
	o := s.options(s.sh("web", server))
	o.Spec.Control.Listen, o.Keeper = address, k.next()
	first := start(t, o)
	first.state("web#0", event.Ready)
	first.opened(address)
	key := first.SessionKey().Key
	first.leave(s)
	asked := make(chan int, 1)
	go func() {
		code, _ := post(t, address, key, "/v1/restart", `{"selector":"web"}`)
		asked <- code
	}()
	o.Keeper = k.next()
	second := start(t, o)
	second.opened(address)
	if got := second.SessionKey(); got.Key != key || got.Listen != address {
		t.Errorf("%v, before %s", got, key)
	}
	select {
	case code := <-asked:
		if code != 200 {
			t.Errorf("it was answered %d", code)
		}
	case <-time.After(deadline):
		t.Fatal("who asked between two agents has no answer")
	}
	// What is applied now moves it, and leaves nothing in the Store.
	next := s.spec(s.sh("web", server))
	if f := second.Apply(context.Background(), next).Fault(); f != nil {
		t.Fatal(f)
	}
	for _, name := range k.store.List() {
		if strings.HasPrefix(name, keyedPrefix) {
			t.Errorf("%s is left", name)
		}
	}
	if code, _ := post(t, address, key, "/v1/version", ""); code != 0 {
		t.Errorf("somebody still listens: %d", code)
	}
}

// A name must lead to this host, whatever /etc/hosts says.
func TestLoopbackOnly(t *testing.T) {
	f, err := bindLoopback("localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if f, err := bindLoopback("0.0.0.0:0"); fault.CodeOf(err) != fault.Bind {
		f.Close()
		t.Errorf("%v", err)
	}
}

// ends starts apps of which the agent ends with the last, as `run` does.
func ends(t *testing.T, apps func(s site) []spec.App) *subject {
	t.Helper()
	s := newSite(t)
	o := s.options(apps(s)...)
	o.UntilEnded = true
	r := start(t, o)
	ready := 0
	r.until("all ready", func(e event.Event) bool {
		if d, ok := e.Data.(event.WorkerState); ok && d.To == event.Ready {
			ready++
		}
		return ready == len(o.Spec.Apps)
	})
	return r
}

// S1.2: a worker ends its own app; where that leaves nothing, muster with its code.
func TestKillOwnApp(t *testing.T) {
	r := ends(t, func(s site) []spec.App { return []spec.App{s.sh("web", server)} })
	out := r.stopApp(context.Background(), "web", "web#0 asks for it: done", 42, false)
	if f := out.Fault(); f != nil {
		t.Error(f)
	}
	stopping := r.until("the end", func(e event.Event) bool { _, ok := e.Data.(event.AgentStopping); return ok }).Data.(event.AgentStopping)
	if stopping.Reason != "web#0 asks for it: done" || stopping.ExitCode != 42 {
		t.Errorf("%+v", stopping)
	}
	if code, err := r.ended(); code != 42 || err != nil {
		t.Errorf("ended with %d, %v", code, err)
	}
}

// … and otherwise only that; the last one decides the code.
func TestKillOneOfTwo(t *testing.T) {
	r := ends(t, func(s site) []spec.App { return []spec.App{s.sh("api", server), s.sh("web", server)} })
	if f := r.stopApp(context.Background(), "web", "enough", 42, false).Fault(); f != nil {
		t.Fatal(f)
	}
	stopped := r.until("web's end", func(e event.Event) bool {
		d, ok := e.Data.(event.WorkerState)
		return ok && e.App == "web" && d.To == event.Draining
	}).Data.(event.WorkerState)
	if stopped.Why != "enough" {
		t.Errorf("%+v", stopped)
	}
	if a := r.Status().Apps; len(a) != 2 || a[0].Ready != 1 || a[1].Ready != 0 {
		t.Errorf("%+v", a)
	}
	if f := r.stopApp(context.Background(), "api", "enough", 43, true).Fault(); f != nil {
		t.Fatal(f)
	}
	if code, err := r.ended(); code != 43 || err != nil {
		t.Errorf("ended with %d, %v", code, err)
	}
}

// In the background an agent lives on without workers.
func TestKillInTheBackground(t *testing.T) {
	s := newSite(t)
	r := start(t, s.options(s.sh("web", server)))
	r.state("web#0", event.Ready)
	if f := r.stopApp(context.Background(), "web", "enough", 42, false).Fault(); f != nil {
		t.Fatal(f)
	}
	if a := r.Status().Apps; len(a) != 1 || a[0].Ready != 0 {
		t.Errorf("%+v", a)
	}
	r.stopAgent("that is all", 44, false)
	if code, err := r.ended(); code != 44 || err != nil {
		t.Errorf("ended with %d, %v", code, err)
	}
}

// The first reason decides; whoever asks later is not kept waiting.
func TestKillAgentTwice(t *testing.T) {
	r := ends(t, func(s site) []spec.App { return []spec.App{s.sh("web", server)} })
	for i := range 40 { // more than fit into the line
		go r.stopAgent(fmt.Sprint(i), 7, false)
	}
	if code, err := r.ended(); code != 7 || err != nil {
		t.Errorf("ended with %d, %v", code, err)
	}
	r.stopAgent("late", 1, true)
}
