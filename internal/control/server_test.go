package control

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
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
)

// wellAfter proves that the server still answers.
func (g *rig) wellAfter(what string) {
	g.t.Helper()
	if _, err := g.client().Version(g.t.Context()); err != nil {
		g.t.Errorf("after %s: %v", what, err)
	}
}

func TestTooLongBody(t *testing.T) {
	g := serve(t, func(o *Options) { o.MaxBody = 1000 })
	body := `{"selector":"` + strings.Repeat("x", 2000) + `"}`
	answer, text := g.send("POST", "/v1/reload", body)
	if answer.StatusCode != 413 || !strings.Contains(text, "longer than 1000 bytes") {
		t.Errorf("with a length: %d %s", answer.StatusCode, text)
	}
	// Without a length, the limit is found while reading.
	chunked := fmt.Sprintf("POST /v1/reload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	if got := g.raw(chunked); !strings.Contains(got, " 413 ") {
		t.Errorf("in chunks: %s", got)
	}
	_, err := g.client().Reload(t.Context(), api.Order{Selector: strings.Repeat("x", 2000)})
	wantCode(t, err, fault.Usage)
	g.wellAfter("long bodies")
}

func TestDefaultBodyLimitIs8MiB(t *testing.T) {
	g := serve(t, nil)
	fits := mustJSON(t, api.Order{Selector: strings.Repeat("x", 8<<20-100)})
	if answer, _ := g.send("POST", "/v1/stop", fits); answer.StatusCode != 200 {
		t.Errorf("just below: %d", answer.StatusCode)
	}
	if got := g.raw("POST /v1/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 8388609\r\n\r\n"); !strings.Contains(got, " 413 ") {
		t.Errorf("just above: %s", got)
	}
}

func TestSlowHeader(t *testing.T) {
	g := serve(t, func(o *Options) { o.headerTime = 50 * time.Millisecond })
	got := g.raw("GET /v1/status HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	if strings.Contains(got, "200 OK") {
		t.Error(got)
	}
	g.wellAfter("a header that never ends")
}

func TestSlowBody(t *testing.T) {
	g := serve(t, func(o *Options) { o.bodyTime = 50 * time.Millisecond })
	got := g.raw("POST /v1/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
	if !strings.Contains(got, " 408 ") || !strings.Contains(got, string(fault.Usage)) {
		t.Error(got)
	}
	g.wellAfter("a body that never ends")
}

// The time for the body does not end an order that takes longer.
func TestBodyTimeDoesNotEndOrders(t *testing.T) {
	g := serve(t, func(o *Options) { o.bodyTime = 20 * time.Millisecond })
	g.fakes.do = func(ctx context.Context, _ string, o api.Order) api.Outcome {
		late, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		<-late.Done()
		if ctx.Err() != nil {
			return api.Outcome{Results: []api.Result{{Text: "cut off"}}}
		}
		return api.Outcome{Results: []api.Result{{Text: "done"}}}
	}
	out, err := g.client().Stop(t.Context(), api.Order{Selector: "web"})
	if err != nil || out.Results[0].Text != "done" {
		t.Errorf("got %+v, %v", out, err)
	}
}

func TestLongHeader(t *testing.T) {
	g := serve(t, nil)
	got := g.raw("GET /v1/status HTTP/1.1\r\nHost: x\r\nX-Long: " + strings.Repeat("x", 100_000) + "\r\n\r\n")
	if !strings.Contains(got, " 431 ") {
		t.Errorf("%.200s", got)
	}
	g.wellAfter("a long header")
}

func TestGarbage(t *testing.T) {
	g := serve(t, nil)
	for _, text := range []string{
		"\x00\x01\x02\xff\xfe", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "GET\r\n\r\n", "*\r\n\r\n",
		"GET /v1/status HTTP/9.9\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"POST /v1/stop HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
		"POST /v1/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"CONNECT /v1/stop HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"GET http://[::bad/v1/status HTTP/1.1\r\nHost: x\r\n\r\n", strings.Repeat("\n", 10_000),
	} {
		c := g.dial()
		io.WriteString(c, text)
		c.(*net.UnixConn).CloseWrite()
		answer, _ := io.ReadAll(c)
		c.Close()
		if bytes.Contains(answer, []byte("200 OK")) && !strings.HasPrefix(text, "OPTIONS") {
			t.Errorf("%.30q was answered %.100q", text, answer)
		}
	}
	g.wellAfter("garbage")
	if len(g.hub.Past()) != 0 {
		t.Errorf("garbage gave events: %v", g.hub.Past())
	}
}

func TestTooManyConnections(t *testing.T) {
	g := serve(t, func(o *Options) { o.MaxConns = 3 })
	var open []net.Conn
	for range 3 {
		open = append(open, g.dial())
	}
	_, err := g.client().Version(t.Context())
	f := wantCode(t, err, fault.AgentUnreachable)
	if !strings.Contains(f.Text, "3 connections") {
		t.Errorf("got %v", f)
	}
	for range spare {
		open = append(open, g.dial())
	}
	// The very last one is closed without a word.
	last := g.dial()
	if text, _ := io.ReadAll(last); len(text) != 0 {
		t.Errorf("got %q", text)
	}
	last.Close()
	for _, c := range open {
		c.Close()
	}
	eventually(t, "room", func() bool { _, err := g.client().Version(t.Context()); return err == nil })
}

// A panic in a route is that route's (S1.7).
func TestPanics(t *testing.T) {
	var log syncBuffer
	g := serve(t, func(o *Options) {
		o.Logger = slogTo(&log)
		o.Status = func() api.Status { panic("status broke") }
		o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "half ")
			http.NewResponseController(w).Flush()
			panic(errors.New("metrics broke"))
		})
		o.Shutdown = func(api.StopRequest) { panic(http.ErrAbortHandler) }
	})
	g.fakes.do = func(context.Context, string, api.Order) api.Outcome {
		panic(fmt.Errorf("a runtime error"))
	}
	_, err := g.client().Status(t.Context())
	if f := wantCode(t, err, fault.Internal); !strings.Contains(f.Text, "status broke") {
		t.Errorf("got %v", f)
	}
	_, err = g.client().Stop(t.Context(), api.Order{Selector: "web"})
	wantCode(t, err, fault.Internal)
	var b strings.Builder
	wantCode(t, g.client().Metrics(t.Context(), &b), fault.AgentUnreachable)
	if b.String() != "half " {
		t.Errorf("got %q", b.String())
	}
	wantCode(t, g.client().Shutdown(t.Context(), api.StopRequest{}), fault.AgentUnreachable)
	g.wellAfter("panics")
	warnings := 0
	for _, e := range g.hub.Past() {
		if w, ok := e.Data.(event.Warning); ok && w.Fault.Code == fault.Internal {
			warnings++
		}
	}
	if warnings != 3 || !strings.Contains(log.String(), "server_test.go") {
		t.Errorf("%d warnings, log %s", warnings, log.String())
	}
}

// What cannot be encoded is a fault, not half an answer.
func TestAnswerThatCannotBeEncoded(t *testing.T) {
	g := serve(t, func(o *Options) {
		o.Status = func() api.Status {
			var zero float64
			return api.Status{Apps: []api.App{{Workers: []api.Worker{{CPU: 1 / zero}}}}}
		}
	})
	_, err := g.client().Status(t.Context())
	wantCode(t, err, fault.Internal)
}

func TestConcurrentOrders(t *testing.T) {
	g := serve(t, nil)
	var together sync.WaitGroup
	together.Add(20)
	g.fakes.do = func(_ context.Context, verb string, o api.Order) api.Outcome {
		together.Done()
		together.Wait() // only possible when all run at once
		return api.Outcome{Results: []api.Result{{App: o.Selector}}}
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			name := fmt.Sprintf("app%d", i)
			out, err := g.client().Restart(t.Context(), api.Order{Selector: name})
			if err != nil || out.Results[0].App != name {
				t.Errorf("%s: got %+v, %v", name, out, err)
			}
		})
	}
	wg.Wait()
	if n := len(g.hub.Past()); n != 20 {
		t.Errorf("%d orders were published", n)
	}
}

// A client that goes away ends the wait for its order.
func TestClientGoesAway(t *testing.T) {
	g := serve(t, nil)
	running, gone := make(chan bool), make(chan error, 1)
	g.fakes.do = func(ctx context.Context, _ string, _ api.Order) api.Outcome {
		close(running)
		<-ctx.Done()
		gone <- ctx.Err()
		return api.Outcome{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := g.client().Stop(ctx, api.Order{Selector: "web"})
		result <- err
	}()
	receive(t, running)
	cancel()
	wantCode(t, receive(t, result), fault.Interrupted)
	receive(t, gone)
}

func TestClientDeadline(t *testing.T) {
	g := serve(t, nil)
	g.fakes.do = func(ctx context.Context, _ string, _ api.Order) api.Outcome { <-ctx.Done(); return api.Outcome{} }
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := g.client().Stop(ctx, api.Order{Selector: "web"})
	wantCode(t, err, fault.Timeout)
}

// Serve's end: orders get their answer, streams are closed, nobody else gets in.
func TestGracefulEnd(t *testing.T) {
	g := serve(t, nil)
	running, release := make(chan bool), make(chan bool)
	g.fakes.do = func(context.Context, string, api.Order) api.Outcome {
		close(running)
		<-release
		return api.Outcome{Results: []api.Result{{Text: "done"}}}
	}
	g.printer("web", 0)("x")
	orders, streams := make(chan error, 1), make(chan error, 2)
	go func() {
		out, err := g.client().Stop(t.Context(), api.Order{Selector: "web"})
		if err == nil && out.Results[0].Text != "done" {
			err = fmt.Errorf("got %+v", out)
		}
		orders <- err
	}()
	receive(t, running)
	var heard atomic.Int64
	go func() {
		streams <- g.client().Events(t.Context(), 0, func(event.Event) error { heard.Add(1); return nil })
	}()
	go func() {
		o := client.LogOptions{Selector: "web", Lines: 10, Follow: true}
		streams <- g.client().Logs(t.Context(), o, func(api.Record) error { heard.Add(1); return nil })
	}()
	eventually(t, "both streams", func() bool { return heard.Load() == 2 })
	silent := g.dial() // asks nothing
	defer silent.Close()
	g.end()
	for range 2 {
		if err := receive(t, streams); err != nil {
			t.Errorf("a stream ended with %v", err)
		}
	}
	if _, err := io.ReadAll(silent); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a silent connection is still open")
	}
	_, err := g.client().Version(t.Context())
	wantCode(t, err, fault.AgentUnreachable)
	select {
	case err := <-g.done:
		t.Fatalf("Serve returned while an order ran: %v", err)
	default:
	}
	close(release)
	if err := receive(t, orders); err != nil {
		t.Errorf("the order: %v", err)
	}
	if err := g.stop(); err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// An order that does not end holds the agent up for Grace only.
func TestGraceEnds(t *testing.T) {
	g := serve(t, func(o *Options) { o.Grace = 50 * time.Millisecond })
	running, result := make(chan bool), make(chan error, 1)
	g.fakes.do = func(ctx context.Context, _ string, _ api.Order) api.Outcome {
		close(running)
		<-ctx.Done()
		return api.Outcome{}
	}
	go func() {
		_, err := g.client().Stop(t.Context(), api.Order{Selector: "web"})
		result <- err
	}()
	receive(t, running)
	if err := g.stop(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	wantCode(t, receive(t, result), fault.AgentUnreachable)
}

// A reader that has stopped to read does not hold up the end.
func TestEndWithBlockedReader(t *testing.T) {
	g := serve(t, func(o *Options) { o.Grace = patience })
	c := g.dial()
	defer c.Close()
	io.WriteString(c, "GET /v1/events?after=0 HTTP/1.1\r\nHost: x\r\n\r\n")
	bufio.NewReader(c).ReadString('\n')
	text := strings.Repeat("x", 100_000)
	for range 100 {
		g.hub.Publish(event.Event{Slot: event.NoSlot, Data: event.WorkerStatus{Text: text}})
	}
	begun := time.Now()
	if err := g.stop(); err != nil || time.Since(begun) > 15*time.Second {
		t.Errorf("it took %s: %v", time.Since(begun), err)
	}
}

// The answer to shutdown comes when everything has stopped, before Serve ends.
func TestShutdown(t *testing.T) {
	asked, stopped := make(chan api.StopRequest), make(chan bool)
	g := serve(t, func(o *Options) {
		o.Shutdown = func(r api.StopRequest) { asked <- r; <-stopped }
	})
	result := make(chan error, 1)
	go func() {
		result <- g.client().Shutdown(t.Context(), api.StopRequest{Reason: "enough", ExitCode: 3, Now: true})
	}()
	if r := receive(t, asked); r != (api.StopRequest{Reason: "enough", ExitCode: 3, Now: true}) {
		t.Errorf("asked %+v", r)
	}
	select {
	case err := <-result:
		t.Fatalf("answered too early: %v", err)
	default:
	}
	close(stopped)
	g.end()
	if err := receive(t, result); err != nil {
		t.Errorf("got %v", err)
	}
	if err := g.stop(); err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestServeOnBrokenListener(t *testing.T) {
	g := serve(t, nil)
	l, err := net.Listen("unix", g.path+"2")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := g.server.Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestManyConnectionsDoNotLeak(t *testing.T) {
	g := serve(t, func(o *Options) { o.MaxConns = 4 })
	for range 200 {
		if _, err := g.client().Version(t.Context()); err != nil {
			// The server may notice the end of the one before a moment later.
			eventually(t, "room", func() bool { _, err := g.client().Version(t.Context()); return err == nil })
		}
	}
}

// FuzzRequest decodes whatever comes: a fault or a value, never a panic, and
// what was read can be told again.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"selector":"web","now":true}`))
	f.Add([]byte(`{"spec":{"project":"p","apps":[{"name":"web","workers":1}]},"dry_run":true}`))
	f.Add([]byte(`{"spec":{"apps":[{"stop":{"timeout":"1m30s"},"limits":{"memory":"1GiB"}}]}}`))
	f.Add([]byte("null"))
	hub := &event.Hub{}
	o := Options{
		Status: func() api.Status { return api.Status{} }, Events: hub, Version: "1",
		Launch: func(string) (api.Launch, error) { return api.Launch{}, nil },
	}
	fake := &fakes{}
	o.Apply, o.Life, o.Pools = fake, fake, fake
	s, err := New(o)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		check[api.Order](t, s, body)
		check[api.ApplyRequest](t, s, body)
		check[api.StopRequest](t, s, body)
	})
}

func check[In any](t *testing.T, s *Server, body []byte) {
	t.Helper()
	w := newRecorder()
	r, err := http.NewRequest("POST", "/", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	in, err := read[In](s, w, r)
	if err != nil {
		if fault.CodeOf(err) != fault.Usage {
			t.Errorf("%q: %v is no usage fault", body, err)
		}
		return
	}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatalf("%q cannot be told again: %v", body, err)
	}
	again := json.NewDecoder(bytes.NewReader(text))
	again.DisallowUnknownFields()
	if err := again.Decode(&in); err != nil {
		t.Errorf("%q became %q, which is refused: %v", body, text, err)
	}
}
