// Chat is a chat room: every worker of every app that runs it, or its counterparts
// chat.js and chat.py, is in the one room.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/peer"
	"github.com/muster-run/muster/worker"
)

// chat is one worker in the room.
type chat struct {
	*worker.Worker
	name    string
	said    *peer.Counter
	limiter *peer.Limiter
	topics  *peer.Cache[string]

	mu    sync.Mutex
	heard []string
	held  *peer.Held
	fills int
}

func main() { os.Exit(worker.Run(worker.Options{}, run)) }

func run(ctx context.Context, w *worker.Worker) error {
	welcome, err := w.Hello(ctx)
	if err != nil {
		return err
	}
	c := &chat{Worker: w, name: welcome.Name, heard: []string{}, said: w.Counter("said")}
	c.limiter = w.Limiter("chat", peer.LimiterOptions{Rate: 20, Burst: 20})
	if c.topics, err = peer.NewCache[string](ctx, w.Peer, "topics", peer.CacheOptions{TTL: time.Hour}); err != nil {
		return err
	}
	w.Handle("chat:echo", func(_ context.Context, r *peer.Request) (any, error) {
		var text string
		err := r.Decode(&text)
		return c.name + ": " + text, err
	})
	w.Handle("chat:who", func(context.Context, *peer.Request) (any, error) { return c.name, nil })
	if _, err := w.Subscribe(ctx, "room", peer.SubscribeOptions{}, c.hear); err != nil {
		return err
	}
	return c.serve(ctx)
}

// hear takes what others say.
func (c *chat) hear(_ context.Context, m *peer.Message) {
	var text string
	if m.Decode(&text) == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.heard = append(c.heard, text)
	}
}

// serve answers until ctx ends.
func (c *chat) serve(ctx context.Context) error {
	mux := http.NewServeMux()
	for pattern, answer := range map[string]func(*http.Request) (any, error){
		"POST /say": c.say, "GET /heard": c.all, "GET /who": c.who, "GET /ask": c.ask, "POST /take": c.take,
		"POST /add": c.add, "GET /topic": c.topic, "PUT /topic": c.setTopic, "GET /fills": c.filled,
		"POST /hold": c.hold, "GET /held": c.holding, "POST /op": c.raw,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			v, err := answer(r)
			if err != nil {
				http.Error(w, fmt.Sprintf("%s: %s", fault.CodeOf(err), err), http.StatusServiceUnavailable)
				return
			}
			if text, ok := v.(string); ok {
				fmt.Fprint(w, text)
				return
			}
			_ = json.NewEncoder(w).Encode(v) // who has gone does not need it
		})
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux}
	go func() { // ends with ctx
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.Serve(l); ctx.Err() == nil {
		return err
	}
	return nil
}

func (c *chat) say(r *http.Request) (any, error) {
	got, err := c.Publish(r.Context(), "room", r.FormValue("text"))
	return strconv.Itoa(got.Receivers), err
}

func (c *chat) all(*http.Request) (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.heard), nil
}

func (c *chat) who(r *http.Request) (any, error) {
	names := []string{c.name}
	for a, err := range c.Gather(r.Context(), "all", "chat:who", nil) {
		var name string
		if err = cmp.Or(err, a.Decode(&name)); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

func (c *chat) ask(r *http.Request) (any, error) {
	var answer string
	err := c.Request(r.Context(), r.FormValue("to"), "chat:echo", r.FormValue("text"), &answer)
	return answer, err
}

func (c *chat) take(r *http.Request) (any, error) {
	d, err := c.limiter.Take(r.Context(), r.FormValue("key"), 1)
	if err != nil || d.Allowed {
		return "yes", err
	}
	return "no, wait " + d.Wait.String(), nil
}

func (c *chat) add(r *http.Request) (any, error) {
	n, err := strconv.ParseInt(r.FormValue("n"), 10, 64)
	if err != nil {
		return nil, err
	}
	sum, err := c.said.Add(r.Context(), n)
	return strconv.FormatInt(sum, 10), err
}

func (c *chat) topic(r *http.Request) (any, error) {
	return c.topics.Fill(r.Context(), "topic", 0, func(context.Context) (string, error) {
		c.mu.Lock()
		c.fills++
		c.mu.Unlock()
		text, err := os.ReadFile(os.Getenv("TOPIC"))
		return string(text), err
	})
}

func (c *chat) setTopic(r *http.Request) (any, error) {
	err := c.Lock("topic", peer.LockOptions{}).Do(r.Context(), func(ctx context.Context) error {
		if err := os.WriteFile(os.Getenv("TOPIC"), []byte(r.FormValue("text")), 0o600); err != nil {
			return err
		}
		_, err := c.topics.Del(ctx, "topic")
		return err
	})
	return "", err
}

func (c *chat) filled(*http.Request) (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strconv.Itoa(c.fills), nil
}

// hold takes the lock for some time, and says its fence and from when to when it had
// it, by the clock that all processes of a host share.
func (c *chat) hold(r *http.Request) (any, error) {
	lease, _ := strconv.Atoi(r.FormValue("lease"))
	h, err := c.Lock("hold", peer.LockOptions{Lease: time.Duration(lease) * time.Millisecond}).Acquire(r.Context())
	if err != nil {
		return nil, err
	}
	from := monotonic()
	c.keep(h)
	ms, _ := strconv.Atoi(r.FormValue("ms"))
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
	case <-h.Lost():
		return nil, h.Err()
	}
	c.keep(nil)
	to := monotonic()
	h.Release()
	return fmt.Sprintf("%d %d %d", h.Fence(), from, to), nil
}

func (c *chat) keep(h *peer.Held) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = h
}

func (c *chat) holding(*http.Request) (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		return "", nil
	}
	return c.held.Token(), nil
}

// raw asks muster, or with to a worker, anything.
func (c *chat) raw(r *http.Request) (any, error) {
	var answer json.RawMessage
	var body any
	if text := r.FormValue("body"); text != "" {
		body = json.RawMessage(text)
	}
	err := c.Request(r.Context(), r.FormValue("to"), r.FormValue("op"), body, &answer)
	return answer, err
}

func monotonic() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // it cannot fail
	return t.Nano()
}
