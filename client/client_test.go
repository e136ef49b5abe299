package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cli")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// agent is a stand-in for an agent: what it answers is up to the test.
func agent(t *testing.T, f http.HandlerFunc) *Client {
	t.Helper()
	path := filepath.Join(tempDir(t), "a.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: f}
	done := make(chan bool)
	go func() { defer close(done); s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-done })
	return New(Options{Socket: path, Version: "1.0.0"})
}

// text is an agent that always answers the same.
func text(t *testing.T, status int, body string) *Client {
	t.Helper()
	return agent(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
}

func wantCode(t *testing.T, err error, code fault.Code) *fault.Fault {
	t.Helper()
	var f *fault.Fault
	if !errors.As(err, &f) || f.Code != code {
		t.Fatalf("got %v, want a fault %s", err, code)
	}
	return f
}

func TestNobodyThere(t *testing.T) {
	dir := tempDir(t)
	stale := filepath.Join(dir, "stale.sock")
	l, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	for path, code := range map[string]fault.Code{
		filepath.Join(dir, "none.sock"): fault.AgentUnreachable,
		stale:                           fault.AgentUnreachable,
		filepath.Join(dir, strings.Repeat("x", 200)):      fault.SocketPath,
		filepath.Join(dir, "no", "such", "dir", "a.sock"): fault.AgentUnreachable,
	} {
		c := New(Options{Socket: path})
		_, err := c.Status(t.Context())
		f := wantCode(t, err, code)
		if f.Where != path || f.Fix == "" || c.Socket() != path {
			t.Errorf("%s: got %+v", path, f)
		}
		wantCode(t, c.Logs(t.Context(), LogOptions{}, nil), code)
		wantCode(t, c.Events(t.Context(), 0, nil), code)
		wantCode(t, c.Metrics(t.Context(), io.Discard), code)
		wantCode(t, c.Shutdown(t.Context(), api.StopRequest{}), code)
	}
	if got := fault.ExitCode(New(Options{Socket: stale}).ReopenLogs(t.Context())); got != 5 {
		t.Errorf("exit code %d", got)
	}
}

func TestContextEnds(t *testing.T) {
	c := agent(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	late, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := c.Status(late)
	wantCode(t, err, fault.Timeout)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.Status(ended)
	f := wantCode(t, err, fault.Interrupted)
	if !errors.Is(f, context.Canceled) {
		t.Errorf("%v does not hold its cause", f)
	}
	wantCode(t, c.Events(ended, 0, nil), fault.Interrupted)
}

func TestAgentsFaultIsPassedOn(t *testing.T) {
	c := text(t, 422, `{"error":{"code":"E-READY-TIMEOUT","text":"late","where":"web#0","output":["a","b"],"fix":"wait"}}`)
	_, err := c.Status(t.Context())
	f := wantCode(t, err, fault.ReadyTimeout)
	if f.Text != "late" || f.Where != "web#0" || len(f.Output) != 2 || f.Fix != "wait" {
		t.Errorf("got %+v", f)
	}
	wantCode(t, c.Logs(t.Context(), LogOptions{}, nil), fault.ReadyTimeout)
	wantCode(t, c.Events(t.Context(), 0, nil), fault.ReadyTimeout)
	_, err = c.Reload(t.Context(), api.Order{})
	wantCode(t, err, fault.ReadyTimeout)
	// A code that this version does not know is passed on as well.
	_, err = text(t, 422, `{"error":{"code":"E-NEW","text":"new"}}`).Status(t.Context())
	wantCode(t, err, "E-NEW")
}

// An outcome is an answer, also when all of it failed.
func TestOutcomeIsNoError(t *testing.T) {
	c := text(t, 422, `{"results":[{"app":"web","fault":{"code":"E-START","text":"x"}}],"changes":[],"error":{"code":"E-START","text":"x"}}`)
	out, err := c.Start(t.Context(), api.Order{Selector: "web"})
	if err != nil || fault.CodeOf(out.Fault()) != fault.StartFailed {
		t.Errorf("got %+v, %v", out, err)
	}
}

func TestStrangeAnswers(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
	}{
		{200, ""}, {200, "hello"}, {200, `{"apps":1}`}, {200, `[`}, {500, "oops"}, {404, `{}`}, {503, `{"error":null}`}, {418, `[]`},
	} {
		_, err := text(t, c.status, c.body).Status(t.Context())
		wantCode(t, err, fault.Internal)
	}
	_, err := text(t, 200, `{"project":"p","from_the_future":{"x":1}}`).Status(t.Context())
	if err != nil {
		t.Errorf("a newer agent's answer: %v", err)
	}
}

func TestAgentDiesWhileItAnswers(t *testing.T) {
	c := agent(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, `{"time":"2026-01-01T00:00:00Z","app":"web","line":"x"}`+"\n")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	_, err := c.Status(t.Context())
	wantCode(t, err, fault.AgentUnreachable)
	n := 0
	err = c.Logs(t.Context(), LogOptions{Follow: true}, func(api.Record) error { n++; return nil })
	wantCode(t, err, fault.AgentUnreachable)
	if n != 1 {
		t.Errorf("%d records", n)
	}
	wantCode(t, c.Metrics(t.Context(), io.Discard), fault.AgentUnreachable)
}

func TestLogsPassOnErrors(t *testing.T) {
	c := text(t, 200, `{"line":"a"}`+"\n"+`{"line":"b"}`+"\n")
	enough := errors.New("enough")
	if err := c.Logs(t.Context(), LogOptions{}, func(api.Record) error { return enough }); err != enough {
		t.Errorf("got %v", err)
	}
	wantCode(t, text(t, 200, `{"line":"a"}`+"\nrubbish\n").Logs(t.Context(), LogOptions{}, func(api.Record) error { return nil }), fault.Internal)
	wantCode(t, text(t, 200, `{"line":7}`).Logs(t.Context(), LogOptions{}, func(api.Record) error { return nil }), fault.Internal)
}

func TestRequests(t *testing.T) {
	type request struct{ line, body, version string }
	var got request
	c := agent(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = request{r.Method + " " + r.URL.String(), string(body), r.Header.Get(api.VersionHeader)}
		io.WriteString(w, "{}")
	})
	ctx := t.Context()
	since := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	nothing := func(api.Record) error { return nil }
	for _, x := range []struct {
		do         func() error
		line, body string
	}{
		{func() error { _, err := c.Spec(ctx, true); return err }, "GET /v1/spec?secrets=1", ""},
		{func() error { _, err := c.Spec(ctx, false); return err }, "GET /v1/spec", ""},
		{func() error { _, err := c.Launch(ctx, "web#1"); return err }, "GET /v1/launch?selector=web%231", ""},
		{func() error { _, err := c.Scale(ctx, api.Order{Selector: "w", Workers: 2}); return err }, "POST /v1/scale", `{"selector":"w","workers":2}`},
		{func() error { return c.ReopenLogs(ctx) }, "POST /v1/reopen-logs", "{}"},
		{func() error { return c.Shutdown(ctx, api.StopRequest{Now: true}) }, "POST /v1/shutdown", `{"now":true}`},
		{func() error { return c.Logs(ctx, LogOptions{}, nothing) }, "GET /v1/logs?n=0&selector=all", ""},
		{func() error {
			return c.Logs(ctx, LogOptions{Selector: "web", Lines: -1, Follow: true, Stream: "stderr", Since: since}, nothing)
		}, "GET /v1/logs?follow=1&n=-1&selector=web&since=2026-01-02T03%3A04%3A05.000000006Z&stream=stderr", ""},
	} {
		if err := x.do(); err != nil {
			t.Errorf("%s: %v", x.line, err)
		}
		if got != (request{x.line, x.body, "1.0.0"}) {
			t.Errorf("got %+v, want %s %s", got, x.line, x.body)
		}
	}
}

func TestSkew(t *testing.T) {
	for _, x := range []struct {
		agent, own string
		told       int
	}{{"2", "1", 1}, {"1", "1", 0}, {"", "1", 0}, {"2", "", 0}} {
		c := agent(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(api.VersionHeader, x.agent)
			io.WriteString(w, "{}")
		})
		told := 0
		c.options.Version = x.own
		c.options.SkewWarning = func(string, string) { told++ }
		for range 3 {
			if _, err := c.Version(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if told != x.told {
			t.Errorf("agent %q, own %q: told %d times", x.agent, x.own, told)
		}
		c.options.SkewWarning = nil
		if _, err := c.Version(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnswerTooLong(t *testing.T) {
	c := agent(t, func(w http.ResponseWriter, _ *http.Request) {
		chunk := bytes.Repeat([]byte(" "), 1<<20)
		for range maxAnswer>>20 + 2 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	_, err := c.Status(t.Context())
	f := wantCode(t, err, fault.Internal)
	if !strings.Contains(f.Text, "longer than") {
		t.Errorf("got %v", f)
	}
}

// sse is an agent whose n-th stream is told by streams[n]; later ones are the last.
func sse(t *testing.T, streams ...string) (c *Client, asked *atomic.Int64) {
	t.Helper()
	asked = &atomic.Int64{}
	c = agent(t, func(w http.ResponseWriter, r *http.Request) {
		n := int(asked.Add(1))
		w.Header().Set("Content-Type", "text/event-stream")
		stream := streams[min(n, len(streams))-1]
		stream = strings.ReplaceAll(stream, "LAST", r.Header.Get("Last-Event-ID"))
		stream, hang := strings.CutSuffix(stream, "HANG")
		io.WriteString(w, stream)
		http.NewResponseController(w).Flush()
		if hang {
			<-r.Context().Done()
		}
	})
	c.pause = time.Millisecond
	return c, asked
}

func one(seq int) string {
	return fmt.Sprintf("id: %d\ndata: {\"seq\":%d,\"slot\":-1,\"type\":\"worker.status\",\"data\":{\"text\":\"x\"}}\n\n", seq, seq)
}

const end = "event: end\ndata: {}\n\n"

func collect(t *testing.T, c *Client, after uint64) ([]uint64, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var seen []uint64
	err := c.Events(ctx, after, func(e event.Event) error { seen = append(seen, e.Seq); return nil })
	return seen, err
}

func TestEventStreams(t *testing.T) {
	for _, x := range []struct {
		name    string
		streams []string
		want    string
	}{
		{"plain", []string{one(1) + one(2) + end}, "[1 2]"},
		{"comments, pings, CRLF", []string{": hi\r\n\r\n: ping\n\n" + strings.ReplaceAll(one(1), "\n", "\r\n") + ":\n\n" + end}, "[1]"},
		{"broken", []string{one(1), one(2), "", "", one(3) + end}, "[1 2 3]"},
		{"broken in the middle of an event", []string{one(1) + one(2)[:30], one(2) + end}, "[1 2]"},
		{"cut off", []string{one(1) + "event: cut\ndata: {}\n\n", one(2) + end}, "[1 2]"},
		{"resumed where it was", []string{one(7), `data: {"seq":LAST,"type":"x","data":{}}` + "\n\n" + end}, "[7 7]"},
		{"named messages are not events", []string{"event: news\n" + one(1) + one(2) + end}, "[2]"},
		{"data in two lines", []string{"data: {\"seq\":1,\ndata: \"type\":\"x\",\"data\":{}}\n\n" + end}, "[1]"},
		{"unknown keys", []string{"retry: 10\nfoo\n" + one(1) + end}, "[1]"},
		{"long", []string{fmt.Sprintf("data: {\"seq\":1,\"type\":\"x\",\"data\":{\"t\":%q}}\n\n", strings.Repeat("x", 1<<20)) + end}, "[1]"},
	} {
		t.Run(x.name, func(t *testing.T) {
			c, asked := sse(t, x.streams...)
			seen, err := collect(t, c, 0)
			if err != nil || fmt.Sprint(seen) != x.want || int(asked.Load()) != len(x.streams) {
				t.Errorf("got %v, %v after %d streams", seen, err, asked.Load())
			}
		})
	}
}

// A stream that says nothing for too long, not even a ping, counts as broken.
func TestSilentStream(t *testing.T) {
	c, asked := sse(t, one(1)+"HANG", one(2)+end)
	c.silence = 50 * time.Millisecond
	seen, err := collect(t, c, 0)
	if err != nil || fmt.Sprint(seen) != "[1 2]" || asked.Load() < 2 {
		t.Errorf("got %v, %v after %d streams", seen, err, asked.Load())
	}
}

// A reader of only new events resumes from where the agent said that it begins.
func TestOnlyNewEventsResume(t *testing.T) {
	var asked []string
	c := agent(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("Last-Event-ID")+" "+r.Header.Get(api.AgentHeader))
		w.Header().Set(api.AgentHeader, "A1")
		io.WriteString(w, ": hello\nid: 41\n\n")
		if len(asked) == 2 {
			io.WriteString(w, one(42))
		}
		if len(asked) == 3 {
			io.WriteString(w, end)
		}
	})
	c.pause = time.Millisecond
	if _, err := collect(t, c, event.Now); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%q", asked); got != `[" " "41 A1" "42 A1"]` {
		t.Errorf("asked %s", got)
	}
}

func TestBadEventStreams(t *testing.T) {
	for name, stream := range map[string]string{
		"no JSON":    "data: hello\n\n",
		"wrong type": "data: {\"seq\":\"x\"}\n\n",
		"too long":   "data: " + strings.Repeat("x", maxEventLine+10_000) + "\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := sse(t, stream)
			_, err := collect(t, c, 0)
			wantCode(t, err, fault.Internal)
		})
	}
}

func TestEventsEndWithCallback(t *testing.T) {
	c, asked := sse(t, one(1)+"HANG")
	enough := fault.New(fault.NoApp, "a fault of the caller")
	err := c.Events(t.Context(), 0, func(event.Event) error { return enough })
	if err != error(enough) || asked.Load() != 1 {
		t.Errorf("got %v after %d streams", err, asked.Load())
	}
}

func TestEventsEndWithContext(t *testing.T) {
	c, _ := sse(t, one(1)+"HANG")
	ctx, cancel := context.WithCancel(t.Context())
	err := c.Events(ctx, 0, func(event.Event) error { cancel(); return nil })
	wantCode(t, err, fault.Interrupted)
	late, stop := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer stop()
	empty, _ := sse(t, "") // breaks at once, again and again
	wantCode(t, empty.Events(late, 0, nil), fault.Timeout)
}

// The agent dies without a word: the client finds out and says so.
func TestEventsEndWithAgent(t *testing.T) {
	path := filepath.Join(tempDir(t), "a.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, one(1))
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})}
	done := make(chan bool)
	go func() { defer close(done); s.Serve(l) }()
	err = New(Options{Socket: path}).Events(t.Context(), 0, func(event.Event) error { go s.Close(); return nil })
	wantCode(t, err, fault.AgentUnreachable)
	<-done
}

func TestPastEvents(t *testing.T) {
	var query string
	c := agent(t, func(w http.ResponseWriter, r *http.Request) {
		query = r.URL.RawQuery + " " + r.Header.Get("Last-Event-ID")
		io.WriteString(w, one(4)+end)
	})
	n := 0
	if err := c.PastEvents(t.Context(), 3, func(event.Event) error { n++; return nil }); err != nil || n != 1 || query != "follow=0 3" {
		t.Errorf("%d events, %v, asked %q", n, err, query)
	}
}

func TestEncodeFails(t *testing.T) {
	_, err := post[api.Done](t.Context(), New(Options{}), "/", func() {})
	f := wantCode(t, err, fault.Internal)
	var bad *json.UnsupportedTypeError
	if !errors.As(f, &bad) {
		t.Errorf("got %v", f)
	}
}

// FuzzStream reads whatever an agent may send: never a panic, never more than
// what was sent.
func FuzzStream(f *testing.F) {
	f.Add([]byte(one(1) + ": ping\n\n" + end))
	f.Add([]byte("data: {\"seq\":1,\ndata: \"type\":\"x\"}\r\n\r\n"))
	f.Add([]byte("event: end\n\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		s := &subscription{f: func(event.Event) error { return nil }}
		_, err := s.follow(bufio.NewReader(bytes.NewReader(stream)), func() {})
		if err != nil && !errors.Is(err, io.EOF) && fault.CodeOf(err) != fault.Internal {
			t.Errorf("got %v", err)
		}
		if s.heard > bytes.Count(stream, []byte("data")) {
			t.Errorf("%d events out of %q", s.heard, stream)
		}
	})
}
