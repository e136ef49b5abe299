package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
)

func (g *rig) publish(n int) {
	for range n {
		g.hub.Publish(event.Event{App: "web", Slot: 1, Data: event.WorkerStatus{Text: "working"}})
	}
}

// message is one server-sent event; a comment has only that.
type message struct{ id, name, data, comment string }

// sseReader opens the events stream without the client.
func (g *rig) sseReader(header string) (net.Conn, func() (message, error)) {
	g.t.Helper()
	c := g.dial()
	g.t.Cleanup(func() { c.Close() })
	io.WriteString(c, "GET /v1/events HTTP/1.1\r\nHost: x\r\n"+header+"\r\n")
	in := bufio.NewReaderSize(c, 16)
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	if answer.StatusCode != 200 || answer.Header.Get("Content-Type") != "text/event-stream" {
		g.t.Fatalf("got %+v", answer)
	}
	body := bufio.NewReaderSize(answer.Body, 16)
	return c, func() (m message, err error) {
		for {
			line, err := body.ReadString('\n')
			line = strings.TrimSuffix(line, "\n")
			if err != nil || line == "" {
				return m, err
			}
			key, value, _ := strings.Cut(line, ": ")
			switch key {
			case "id":
				m.id = value
			case "event":
				m.name = value
			case "data":
				m.data = value
			case "":
				m.comment = value
			}
		}
	}
}

func wantMessage(t *testing.T, next func() (message, error), want message) {
	t.Helper()
	m, err := next()
	if err != nil || m.id != want.id || m.name != want.name || m.comment != want.comment || !strings.Contains(m.data, want.data) {
		t.Fatalf("got %+v, %v, want %+v", m, err, want)
	}
}

func TestEventsOnTheWire(t *testing.T) {
	g := serve(t, func(o *Options) { o.pingTime = 30 * time.Millisecond })
	g.publish(3)
	_, next := g.sseReader("Last-Event-ID: 1\r\n")
	wantMessage(t, next, message{id: "1", comment: "muster events"})
	wantMessage(t, next, message{id: "2", data: `"seq":2,`})
	wantMessage(t, next, message{id: "3", data: `"type":"worker.status","data":{"text":"working"}}`})
	wantMessage(t, next, message{comment: "ping"})
	g.publish(1)
	for {
		m, err := next()
		if err != nil {
			t.Fatal(err)
		}
		if m.comment == "ping" {
			continue
		}
		if m.id != "4" {
			t.Fatalf("got %+v", m)
		}
		break
	}
}

func TestEventsBegin(t *testing.T) {
	for _, c := range []struct{ name, header, first string }{
		{"only new ones", "", "3"},
		{"all kept", "Last-Event-ID: 0\r\n", "0"},
		{"after one", "Last-Event-ID: 2\r\n", "2"},
		{"of a longer life", "Last-Event-ID: 700\r\n", "0"},
		{"of another agent", "Last-Event-ID: 2\r\nMuster-Agent: OTHER\r\n", "0"},
		{"now", fmt.Sprintf("Last-Event-ID: %d\r\n", event.Now), "3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := serve(t, nil)
			g.publish(3)
			_, next := g.sseReader(c.header)
			wantMessage(t, next, message{id: c.first, comment: "muster events"})
		})
	}
}

// The publisher never waits; who is too slow is cut off and told so.
func TestSlowReaderIsCut(t *testing.T) {
	g := serve(t, func(o *Options) { o.eventBuffer = 8 })
	c, next := g.sseReader("")
	if err := c.(*net.UnixConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	wantMessage(t, next, message{id: "0", comment: "muster events"})
	begun := time.Now()
	text := strings.Repeat("x", 10_000)
	for range 1000 {
		g.hub.Publish(event.Event{Slot: event.NoSlot, Data: event.WorkerStatus{Text: text}})
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("publishing took %s", took)
	}
	last := ""
	for {
		m, err := next()
		if err != nil {
			t.Fatalf("after %s: %v", last, err)
		}
		if m.name == "cut" {
			break
		}
		last = m.id
	}
	if last == "" || last == "1000" {
		t.Errorf("the last event was %q", last)
	}
	if _, err := next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the cut: %v", err)
	}
}

// The client of a slow reader resumes, and misses nothing.
func TestSlowClientMissesNothing(t *testing.T) {
	g := serve(t, func(o *Options) { o.eventBuffer = 4 })
	const n = 1500
	first, more := make(chan bool), make(chan bool)
	errs, done := make(chan error, 1), errors.New("seen all")
	var seen []uint64
	go func() {
		errs <- g.client().Events(t.Context(), 0, func(e event.Event) error {
			seen = append(seen, e.Seq)
			if e.Seq == 1 {
				close(first)
				<-more
			}
			if e.Seq == n {
				return done
			}
			return nil
		})
	}()
	g.publish(1)
	receive(t, first)
	text := strings.Repeat("x", 2000)
	for range n - 1 {
		g.hub.Publish(event.Event{Slot: event.NoSlot, Data: event.WorkerStatus{Text: text}})
	}
	close(more)
	if err := receive(t, errs); !errors.Is(err, done) {
		t.Fatal(err)
	}
	for i, seq := range seen {
		if seq != uint64(i+1) {
			t.Fatalf("event %d has number %d", i+1, seq)
		}
	}
	if len(seen) != n {
		t.Errorf("%d of %d events", len(seen), n)
	}
}

// At the agent's end a reader gets what was published before, then "end".
func TestEventsEnd(t *testing.T) {
	g := serve(t, nil)
	_, next := g.sseReader("")
	wantMessage(t, next, message{id: "0", comment: "muster events"})
	g.publish(2)
	g.hub.Publish(event.Event{Slot: event.NoSlot, Data: event.AgentStopping{Reason: "test"}})
	g.end()
	wantMessage(t, next, message{id: "1"})
	wantMessage(t, next, message{id: "2"})
	wantMessage(t, next, message{id: "3", data: "agent.stopping"})
	wantMessage(t, next, message{name: "end"})
	if _, err := next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
}

func TestHubCloses(t *testing.T) {
	g := serve(t, nil)
	g.publish(1)
	errs := make(chan error, 1)
	heard := make(chan bool, 1)
	go func() {
		errs <- g.client().Events(t.Context(), 0, func(event.Event) error { heard <- true; return nil })
	}()
	receive(t, heard)
	g.hub.Close()
	if err := receive(t, errs); err != nil {
		t.Errorf("got %v", err)
	}
}

// PastEvents returns by itself.
func TestPastEvents(t *testing.T) {
	g := serve(t, nil)
	g.publish(5)
	for after, want := range map[uint64]int{0: 5, 3: 2, 5: 0, event.Now: 0} {
		n := 0
		if err := g.client().PastEvents(t.Context(), after, func(event.Event) error { n++; return nil }); err != nil || n != want {
			t.Errorf("after %d: got %d, %v, want %d", after, n, err, want)
		}
	}
}

// A reader of only new events that loses its stream before the first one
// misses none either. The stream breaks because a relay between the two ends.
func TestResumeBeforeFirstEvent(t *testing.T) {
	g := serve(t, nil)
	g.publish(3)
	relay := newRelay(t, g.path)
	c := client.New(client.Options{Socket: relay.path})
	var seen []uint64
	done, errs := errors.New("enough"), make(chan error, 1)
	go func() {
		errs <- c.Events(t.Context(), event.Now, func(e event.Event) error {
			seen = append(seen, e.Seq)
			if e.Seq == 5 {
				return done
			}
			return nil
		})
	}()
	relay.passed(t, ": muster events\nid: 3\n\n")
	relay.hold()
	relay.cut()
	g.publish(2)
	relay.letGo()
	if err := receive(t, errs); !errors.Is(err, done) || len(seen) != 2 {
		t.Errorf("got %v, %v", seen, err)
	}
}

// The events of a new agent begin again, whatever was seen of the old one.
func TestNewAgentBetween(t *testing.T) {
	old := serve(t, nil)
	old.publish(3)
	relay := newRelay(t, old.path)
	c := client.New(client.Options{Socket: relay.path})
	seen, errs := make(chan event.Event, 100), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		errs <- c.Events(ctx, 0, func(e event.Event) error { seen <- e; return nil })
	}()
	for want := range uint64(3) {
		if e := receive(t, seen); e.Seq != want+1 {
			t.Fatalf("got %d", e.Seq)
		}
	}
	next := serve(t, nil)
	next.publish(5) // more than the client has seen of the old one
	relay.to(next.path)
	relay.cut()
	for want := range uint64(5) {
		if e := receive(t, seen); e.Seq != want+1 {
			t.Fatalf("of the new agent: got %d, want %d", e.Seq, want+1)
		}
	}
	cancel()
	wantCode(t, receive(t, errs), fault.Interrupted)
}

func TestEventsCarryTheirTypes(t *testing.T) {
	g := serve(t, nil)
	for _, d := range event.Kinds() {
		g.hub.Publish(event.Event{Slot: event.NoSlot, Data: d})
	}
	i := 0
	err := g.client().PastEvents(t.Context(), 0, func(e event.Event) error {
		if want := event.Kinds()[i]; e.Type != want.Kind() || fmt.Sprintf("%T", e.Data) != fmt.Sprintf("%T", want) {
			t.Errorf("event %d is %s %T", i, e.Type, e.Data)
		}
		i++
		return nil
	})
	if err != nil || i != len(event.Kinds()) {
		t.Errorf("%d events, %v", i, err)
	}
}

func TestAgentIsNamed(t *testing.T) {
	g := serve(t, nil)
	answer, _ := g.send("GET", "/v1/version", "")
	if answer.Header.Get(api.AgentHeader) != g.server.instance || g.server.instance == "" {
		t.Errorf("%s is %q", api.AgentHeader, answer.Header.Get(api.AgentHeader))
	}
}
