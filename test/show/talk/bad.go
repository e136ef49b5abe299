package talk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/peer"
	"github.com/muster-run/muster/test/rig"
)

// join takes part in a project as a client, over the control socket.
func join(t *testing.T, project *rig.Project, name string) *peer.Peer {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(project.Runtime, "*", "control.sock"))
	if err != nil || len(found) != 1 {
		t.Fatal("no control socket:", found, err)
	}
	p, err := client.New(client.Options{Socket: found[0]}).Join(t.Context(), name, peer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// join takes part in the room.
func (r *room) join(name string) *peer.Peer { return join(r.t, r.Project, name) }

// BadInput: what nobody should do has a defined outcome, and everybody goes on.
func BadInput(t *testing.T) string {
	r := open(t, 1, "")
	a, b := r.join("a"), r.join("b")
	refused := 0
	for what, try := range r.mistakes(a, b) {
		err := try()
		if code := fault.CodeOf(err); code != fault.Code(what[strings.Index(what, "E-"):]) {
			t.Errorf("%s: got %v (%s)", what, err, code)
		} else {
			refused++
		}
	}
	r.circle(a, b)
	for _, who := range r.everybody() { // all is as before
		if got, want := r.ask("GET", who, "/ask?text=hi&to="+strings.ReplaceAll(who, "#", "%23")), who+": hi"; got != want {
			t.Errorf("%s: %q, want %q", who, got, want)
		}
	}
	r.Down()
	return fmt.Sprintf("%d mistakes, each refused with its code; a circle of handlers ends", refused)
}

// mistakes are the ways to misuse operations, by what comes of them.
func (r *room) mistakes(a, b *peer.Peer) map[string]func() error {
	r.t.Helper()
	ctx := r.t.Context()
	b.Handle("b:panic", func(context.Context, *peer.Request) (any, error) { panic("no") })
	b.Handle("b:fail", func(context.Context, *peer.Request) (any, error) { return nil, errors.New("no") })
	late := make(chan struct{})
	b.Handle("b:late", func(context.Context, *peer.Request) (any, error) { <-late; return "late", nil })
	ask := func(to, name string, body any) func() error {
		return func() error { return a.Request(ctx, to, name, body, nil) }
	}
	limit := func(o peer.LimiterOptions) func() error {
		return func() error { _, err := a.Limiter("bad", o).Take(ctx, "", 1); return err }
	}
	lock := func(name, token string) func() error {
		return ask("", name, map[string]any{"name": "theirs", "token": token})
	}
	held, err := b.Lock("theirs", peer.LockOptions{}).Acquire(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(held.Release)
	cache, err := peer.NewCache[int](ctx, a, "bad", peer.CacheOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	list := map[string]func() error{
		"unknown op to muster: E-UNKNOWN-OP":   ask("", "no:such", nil),
		"unknown op to a worker: E-UNKNOWN-OP": ask("node#0", "no:such", nil),
		"unknown op to a client: E-UNKNOWN-OP": ask("client:b", "no:such", nil),
		"nobody of that name: E-NO-PEER":       ask("nobody", "x", nil),
		"no selector: E-USAGE":                 ask("web#x", "x", nil),
		"a handler that panics: E-HANDLER":     ask("client:b", "b:panic", nil),
		"a handler that fails: E-HANDLER":      ask("client:b", "b:fail", nil),
		"10 MB: E-TOO-LARGE":                   ask("go", "chat:echo", strings.Repeat("x", 10<<20)),
		"another's token: E-NOT-OWNER":         lock("lock:release", "0123456789abcdef0123456789abcdef"),
		"a token that is short: E-USAGE":       lock("lock:acquire", "x"),
		"rate 0: E-USAGE":                      limit(peer.LimiterOptions{Rate: 0}),
		"rate below 0: E-USAGE":                limit(peer.LimiterOptions{Rate: -1}),
		"rate NaN: E-USAGE":                    limit(peer.LimiterOptions{Rate: math.NaN()}),
		"interval below 0: E-USAGE":            limit(peer.LimiterOptions{Rate: 1, Interval: -time.Second}),
		"burst below 1: E-USAGE":               limit(peer.LimiterOptions{Rate: 1, Burst: 0.5}),
		"TTL below 0: E-USAGE":                 func() error { return cache.Set("k", 1, -time.Second) },
		"a counter that overflows: E-USAGE":    func() error { return r.overflow(a) },
		"another app's restart: E-DENIED": func() error {
			_, err := r.try("POST", "go#0", "/op?op=restart&body="+`%7B%22selector%22:%22node%22%7D`)
			return coded(err)
		},
		"the end of the agent: E-DENIED": func() error {
			_, err := r.try("POST", "python#0", "/op?op=kill&body="+`%7B%22agent%22:true%7D`)
			return coded(err)
		},
	}
	list["a reply after the deadline: E-DEADLINE"] = func() error {
		ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		defer close(late)
		return a.Request(ctx, "client:b", "b:late", nil, nil)
	}
	return list
}

// overflow adds beyond what a counter can hold.
func (r *room) overflow(a *peer.Peer) error {
	c := a.Counter("large")
	if _, err := c.Add(r.t.Context(), math.MaxInt64); err != nil {
		return err
	}
	_, err := c.Add(r.t.Context(), 1)
	return err
}

// coded is the fault that a worker answered over HTTP.
func coded(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	i := strings.Index(text, "E-")
	if i < 0 {
		return err
	}
	code, _, _ := strings.Cut(text[i:], ":")
	return fault.New(fault.Code(code), "%s", text)
}

// circle: two handlers that ask each other for ever.
func (r *room) circle(a, b *peer.Peer) {
	r.t.Helper()
	depth := make(chan int, 100)
	bounce := func(p *peer.Peer, to string) peer.HandleFunc {
		return func(ctx context.Context, q *peer.Request) (any, error) {
			var n int
			if err := json.Unmarshal(q.Body, &n); err != nil {
				return nil, err
			}
			depth <- n
			return nil, p.Request(ctx, to, "bounce", n+1, nil)
		}
	}
	a.Handle("bounce", bounce(a, "client:b"))
	b.Handle("bounce", bounce(b, "client:a"))
	err := a.Request(r.t.Context(), "client:b", "bounce", 0, nil)
	if fault.CodeOf(err) != fault.TooDeep || len(depth) > 20 {
		r.t.Errorf("a circle: %v after %d turns", err, len(depth))
	}
}
