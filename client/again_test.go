package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// A call that finds nobody tries again for as long as an agent is about to come.
func TestPatience(t *testing.T) {
	path := filepath.Join(tempDir(t), "a.sock")
	tries := make(chan bool, 1000)
	c := New(Options{Socket: path, Patience: patience, Alive: func() bool { tries <- true; return true }})
	c.pause = time.Millisecond
	done := make(chan error, 1)
	go func() { done <- c.Shutdown(t.Context(), api.StopRequest{}) }()
	for range 3 {
		<-tries
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("{}")) })}
	ended := make(chan bool)
	go func() { defer close(ended); s.Serve(l) }()
	defer func() { s.Close(); <-ended }()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestPatienceEnds(t *testing.T) {
	path := filepath.Join(tempDir(t), "a.sock")
	for name, o := range map[string]Options{
		"nobody is there": {Socket: path, Patience: time.Hour, Alive: func() bool { return false }},
		"for too long":    {Socket: path, Patience: time.Nanosecond, Alive: func() bool { return true }},
	} {
		c := New(o)
		c.pause = time.Millisecond
		_, err := c.Status(t.Context())
		if f := wantCode(t, err, fault.AgentUnreachable); !errors.Is(f, syscall.ENOENT) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// hangup answers nothing and closes the connection.
func hangup(w http.ResponseWriter) {
	c, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		c.Close()
	}
}

// What only asks is asked again when the agent goes away meanwhile; an order is
// not: it may have been carried out.
func TestOnlyQuestionsAreRepeated(t *testing.T) {
	var asked, ordered atomic.Int32
	c := agent(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost:
			ordered.Add(1)
			hangup(w)
		case asked.Add(1) < 3:
			hangup(w)
		default:
			w.Write([]byte(`{"agent_pid":7}`))
		}
	})
	c.options.Alive, c.pause = func() bool { return true }, time.Millisecond
	if st, err := c.Status(t.Context()); err != nil || st.AgentPID != 7 || asked.Load() != 3 {
		t.Errorf("%+v, %v after %d", st, err, asked.Load())
	}
	_, err := c.Reload(t.Context(), api.Order{Selector: "web"})
	wantCode(t, err, fault.AgentUnreachable)
	if ordered.Load() != 1 {
		t.Errorf("ordered %d times", ordered.Load())
	}
}

// An agent that hangs is found out by what only asks; an order takes its time.
func TestAnswerTime(t *testing.T) {
	free := make(chan bool)
	path := agent(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet || r.URL.Path == "/v1/diff" {
			io.Copy(io.Discard, r.Body) // or the end of the client is not seen
			<-r.Context().Done()
			return
		}
		<-free
		w.Write([]byte(`{"results":[]}`))
	}).Socket()
	c := New(Options{Socket: path, AnswerTime: 20 * time.Millisecond, Alive: func() bool { return true }})
	done := make(chan error, 1)
	go func() { _, err := c.Reload(t.Context(), api.Order{Selector: "web"}); done <- err }()
	_, asked := c.Status(t.Context())
	_, compared := c.Diff(t.Context(), spec.Spec{})
	for _, err := range []error{asked, compared} {
		if f := wantCode(t, err, fault.AgentUnreachable); !strings.Contains(f.Text, "within 20ms") {
			t.Error(f)
		}
	}
	close(free)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A follower of logs goes on with the next agent: each record once, though that
// one tells the whole past again, with the times of a text file.
func TestLogsGoOn(t *testing.T) {
	begun := time.Now().Add(time.Minute)
	record := func(slot, n int, at time.Duration, cut bool) string {
		r := api.Record{Time: begun.Add(at), App: "web", Slot: slot, PID: slot + 1, Stream: "stdout", Line: fmt.Sprint(n)}
		if cut {
			r.Time, r.PID = r.Time.Truncate(time.Millisecond), 0
		}
		text, _ := json.Marshal(r)
		return string(text) + "\n"
	}
	const ms = time.Millisecond
	var streams atomic.Int32
	c := agent(t, func(w http.ResponseWriter, r *http.Request) {
		if streams.Add(1) == 1 {
			fmt.Fprint(w, record(0, 1, 0, false), record(1, 1, ms, false), record(0, 2, 2*ms, false), record(0, 3, 2*ms+1, false))
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		if r.URL.Query().Get("n") != "-1" || r.URL.Query().Get("since") == "" {
			t.Errorf("resumed with %s", r.URL.RawQuery)
		}
		old := api.Record{Time: begun.Add(-time.Hour), App: "web", Slot: 5, Stream: "stdout", Line: "old"}
		text, _ := json.Marshal(old)
		fmt.Fprint(w, string(text)+"\n", record(0, 1, 0, true), record(1, 1, ms, true), record(0, 2, 2*ms, true), record(0, 3, 2*ms, true),
			record(0, 4, 2*ms, true), record(1, 2, 3*ms, false), record(2, 1, 3*ms, false))
	})
	c.options.Alive, c.pause = func() bool { return true }, time.Millisecond
	var got []string
	err := c.Logs(t.Context(), LogOptions{Follow: true, Lines: 10}, func(r api.Record) error {
		got = append(got, fmt.Sprintf("%d:%s", r.Slot, r.Line))
		return nil
	})
	if want := "0:1 1:1 0:2 0:3 0:4 1:2 2:1"; err != nil || strings.Join(got, " ") != want {
		t.Errorf("got %v, %v; want %s", got, err, want)
	}
}

func TestLogsEndWithTheirReader(t *testing.T) {
	c := text(t, http.StatusOK, `{"app":"web","line":"x"}`+"\n")
	c.options.Alive = func() bool { return true }
	enough := errors.New("enough")
	if err := c.Logs(t.Context(), LogOptions{Follow: true}, func(api.Record) error { return enough }); !errors.Is(err, enough) {
		t.Error(err)
	}
}
