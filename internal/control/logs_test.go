package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/output"
)

// lines are the records of a reader that ends by itself, as "web#0 text".
func (g *rig) lines(o client.LogOptions) []string {
	g.t.Helper()
	list := []string{}
	err := g.client().Logs(g.t.Context(), o, func(r api.Record) error {
		list = append(list, fmt.Sprintf("%s#%d %s", r.App, r.Slot, r.Line))
		return nil
	})
	if err != nil {
		g.t.Errorf("%+v: %v", o, err)
	}
	return list
}

func TestLogsPast(t *testing.T) {
	g := serve(t, nil)
	web0, web1, api0 := g.printer("web", 0), g.printer("web", 1), g.printer("api", 0)
	web0("a")
	api0("b")
	web1("2:c")
	web0("d")
	middle := time.Now()
	api0("e")
	web1("f")
	for _, c := range []struct {
		o    client.LogOptions
		want string
	}{
		{client.LogOptions{Lines: -1}, "web#0 a,api#0 b,web#1 c,web#0 d,api#0 e,web#1 f"},
		{client.LogOptions{Lines: 1}, "api#0 e,web#1 f"},
		{client.LogOptions{Lines: 0}, ""},
		{client.LogOptions{Selector: "web", Lines: 10}, "web#0 a,web#1 c,web#0 d,web#1 f"},
		{client.LogOptions{Selector: "web#1", Lines: 10}, "web#1 c,web#1 f"},
		{client.LogOptions{Selector: "tag:edge", Lines: 1}, "web#1 f"},
		{client.LogOptions{Selector: "web#0,api", Lines: -1}, "web#0 a,api#0 b,web#0 d,api#0 e"},
		{client.LogOptions{Lines: -1, Stream: "stderr"}, "web#1 c"},
		{client.LogOptions{Lines: -1, Since: middle}, "api#0 e,web#1 f"},
		{client.LogOptions{Selector: "web#9", Lines: -1}, ""},
	} {
		if got := strings.Join(g.lines(c.o), ","); got != c.want {
			t.Errorf("%+v: got %s, want %s", c.o, got, c.want)
		}
	}
	err := g.client().Logs(t.Context(), client.LogOptions{Selector: "nope"}, nil)
	wantCode(t, err, fault.NoApp)
}

func TestLogsDefaultsAndAge(t *testing.T) {
	g := serve(t, nil)
	web := g.printer("web", 0)
	for range 150 {
		web("x")
	}
	for path, want := range map[string]int{
		"/v1/logs?selector=web":                  100,
		"/v1/logs?selector=web&n=120":            120,
		"/v1/logs?selector=web&n=-1&since=1h":    150,
		"/v1/logs?selector=web&n=-1&since=0s":    0,
		"/v1/logs?selector=web&n=-1&follow=0":    150,
		"/v1/logs?selector=api&n=-1":             0,
		"/v1/logs?selector=all&stream=stderr":    0,
		"/v1/logs?selector=w*&n=7&stream=stdout": 7,
	} {
		answer, text := g.send("GET", path, "")
		if got := strings.Count(text, "\n"); answer.StatusCode != 200 || got != want {
			t.Errorf("%s: %d with %d records, want %d", path, answer.StatusCode, got, want)
		}
		if answer.Header.Get("Content-Type") != "application/x-ndjson" {
			t.Errorf("%s: content type %s", path, answer.Header.Get("Content-Type"))
		}
	}
}

// 2,000 lines are 2,000 records, in order, and none of them is HTML-escaped.
func TestLogsAreWhole(t *testing.T) {
	g := serve(t, nil)
	web := g.printer("web", 0)
	for i := range 2000 {
		web(fmt.Sprintf("<line %d> & \x1b[31mred\x1b[0m", i))
	}
	n := 0
	err := g.client().Logs(t.Context(), client.LogOptions{Lines: -1}, func(r api.Record) error {
		if want := fmt.Sprintf("<line %d> & \x1b[31mred\x1b[0m", n); r.Line != want {
			t.Errorf("got %q, want %q", r.Line, want)
		}
		n++
		return nil
	})
	if err != nil || n != 2000 {
		t.Errorf("%d records, %v", n, err)
	}
	if _, text := g.send("GET", "/v1/logs?selector=web&n=1", ""); !strings.Contains(text, "<line 1999> &") {
		t.Errorf("escaped: %s", text)
	}
}

// followLogs reads in the background.
func (g *rig) followLogs(ctx context.Context, o client.LogOptions) (<-chan api.Record, <-chan error) {
	records, errs := make(chan api.Record, 10_000), make(chan error, 1)
	o.Follow = true
	go func() {
		errs <- g.client().Logs(ctx, o, func(r api.Record) error { records <- r; return nil })
	}()
	return records, errs
}

func TestLogsFollow(t *testing.T) {
	g := serve(t, nil)
	web, api0 := g.printer("web", 0), g.printer("api", 0)
	web("past")
	ctx, cancel := context.WithCancel(t.Context())
	records, errs := g.followLogs(ctx, client.LogOptions{Selector: "all", Lines: 10})
	if r := receive(t, records); r.Line != "past" {
		t.Errorf("got %+v", r)
	}
	// api has printed nothing yet; its follower may begin a moment later.
	eventually(t, "what is new", func() bool {
		api0("new")
		select {
		case r := <-records:
			return r.Line == "new" && r.App == "api"
		case <-time.After(10 * time.Millisecond):
			return false
		}
	})
	web("2:more")
	for {
		if r := receive(t, records); r.Line == "more" && r.Stream == "stderr" && r.PID == 1000 {
			break
		}
	}
	cancel()
	wantCode(t, receive(t, errs), fault.Interrupted)
}

func TestLogsFollowFilters(t *testing.T) {
	g := serve(t, nil)
	web0, web1 := g.printer("web", 0), g.printer("web", 1)
	web1("begin")
	records, errs := g.followLogs(t.Context(), client.LogOptions{Selector: "web#1", Lines: 1, Stream: "stdout"})
	receive(t, records)
	web0("not this slot")
	web1("2:not this stream")
	web1("this")
	if r := receive(t, records); r.Line != "this" {
		t.Errorf("got %+v", r)
	}
	g.end()
	if err := receive(t, errs); err != nil {
		t.Errorf("at the agent's end: %v", err)
	}
}

// An app that is added while somebody follows is followed, too.
func TestLogsFollowNewApps(t *testing.T) {
	g := serve(t, nil)
	g.printer("web", 0)("old")
	records, _ := g.followLogs(t.Context(), client.LogOptions{Selector: "all", Lines: 10})
	receive(t, records)
	g.printer("job", 0)("first words")
	g.publish(200) // the follower may be cut off from the events, and looks anew
	g.fakes.mu.Lock()
	g.fakes.apps = append(g.fakes.apps, api.App{Name: "job"})
	g.fakes.mu.Unlock()
	g.hub.Publish(event.Event{Slot: event.NoSlot, Data: event.Applied{Changes: []string{"job added"}}})
	if r := receive(t, records); r.App != "job" || r.Line != "first words" {
		t.Errorf("got %+v", r)
	}
	g.printer("job", 1)("second")
	if r := receive(t, records); r.Line != "second" {
		t.Errorf("got %+v", r)
	}
}

// What workers say at the very end reaches the follower.
func TestLogsLastWords(t *testing.T) {
	g := serve(t, nil)
	web := g.printer("web", 0)
	web("begin")
	records, errs := g.followLogs(t.Context(), client.LogOptions{Selector: "web", Lines: 1})
	receive(t, records)
	for i := range 500 {
		web(fmt.Sprint(i))
	}
	g.end()
	for i := range 500 {
		if r := receive(t, records); r.Line != fmt.Sprint(i) {
			t.Fatalf("got %+v, want %d", r, i)
		}
	}
	if err := receive(t, errs); err != nil {
		t.Error(err)
	}
}

// A follower that does not read loses records, and is told how many; the
// worker never waits for it.
func TestSlowFollowerIsTold(t *testing.T) {
	g := serve(t, nil)
	web := g.printer("web", 0)
	web("begin")
	c := g.dial()
	defer c.Close()
	c.(*net.UnixConn).SetReadBuffer(4096)
	io.WriteString(c, "GET /v1/logs?"+url.Values{"selector": {"web"}, "n": {"1"}, "follow": {"1"}}.Encode()+" HTTP/1.1\r\nHost: x\r\n\r\n")
	answer, err := http.ReadResponse(bufio.NewReaderSize(c, 16), nil)
	if err != nil {
		t.Fatal(err)
	}
	in := json.NewDecoder(bufio.NewReaderSize(answer.Body, 16))
	var r api.Record
	if err := in.Decode(&r); err != nil || r.Line != "begin" {
		t.Fatalf("got %+v, %v", r, err)
	}
	const n = 6000
	text := strings.Repeat("x", 1000)
	for i := range n {
		web(fmt.Sprintf("%d %s", i, text))
	}
	heard, lost := 0, 0
	for heard+lost < n {
		var r api.Record
		if heard > 0 && lost == 0 {
			web("more") // brings the count of what was lost before
		}
		if err := in.Decode(&r); err != nil {
			t.Fatalf("after %d heard and %d lost: %v", heard, lost, err)
		}
		heard, lost = heard+1, lost+r.Lost
	}
	if lost == 0 {
		t.Error("nothing was lost, so nothing was shown")
	}
}

// Followers that go away leave nothing behind (goleak sees the rest).
func TestDroppedFollowers(t *testing.T) {
	g := serve(t, nil)
	web := g.printer("web", 0)
	web("x")
	enough := errors.New("enough")
	for range 30 {
		err := g.client().Logs(t.Context(), client.LogOptions{Lines: 1, Follow: true}, func(api.Record) error { return enough })
		if !errors.Is(err, enough) {
			t.Fatal(err)
		}
	}
	c := g.dial()
	io.WriteString(c, "GET /v1/logs?selector=all&follow=1 HTTP/1.1\r\nHost: x\r\n\r\n")
	c.Close()
	for range 2000 {
		web("y")
	}
	g.wellAfter("dropped followers")
}

// An app without a log yet (it has never run) has no records.
func TestLogsOfAppWithoutLog(t *testing.T) {
	g := serve(t, nil)
	if got := g.lines(client.LogOptions{Selector: "api", Lines: -1}); len(got) != 0 {
		t.Errorf("got %q", got)
	}
	if !slices.Equal(g.lines(client.LogOptions{}), []string{}) {
		t.Error("records from nowhere")
	}
}

// A log that cannot be read is told in its place; the others are read (S1.7).
func TestLogThatPanics(t *testing.T) {
	g := serve(t, nil)
	g.printer("web", 0)("fine")
	g.fakes.logs["api"] = &output.Log{} // not opened
	records, errs := g.followLogs(t.Context(), client.LogOptions{Lines: 10})
	var got []string
	for range 2 {
		r := receive(t, records)
		got = append(got, r.App)
		if r.App == "api" && (r.Slot != event.NoSlot || !strings.Contains(r.Line, "muster: cannot read the log")) {
			t.Errorf("got %+v", r)
		}
	}
	if slices.Sort(got); !slices.Equal(got, []string{"api", "web"}) {
		t.Errorf("got records of %q", got)
	}
	g.end()
	if err := receive(t, errs); err != nil {
		t.Error(err)
	}
}
