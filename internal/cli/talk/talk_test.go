package talk

import (
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
)

func TestReadMessage(t *testing.T) {
	for _, c := range []struct {
		args        []string
		stdin, want string
		code        fault.Code
	}{
		{[]string{` {"a" : 1} `}, "unread", `{"a" : 1}`, ""},
		{nil, "[1,\n2]\n", "[1,\n2]", ""},
		{[]string{"-"}, `"x"`, `"x"`, ""},
		{[]string{"null"}, "", "null", ""},
		{[]string{"gc"}, "", "", fault.Usage},
		{[]string{""}, "1", "", fault.Usage},
		{nil, "", "", fault.Usage},
		{[]string{"1 2"}, "", "", fault.Usage},
		{nil, `"` + strings.Repeat("x", api.MessageMax) + `"`, "", fault.Usage},
		{nil, `"` + strings.Repeat("x", api.MessageMax-2) + `"`, `"` + strings.Repeat("x", api.MessageMax-2) + `"`, ""},
	} {
		got, err := ReadMessage(c.args, strings.NewReader(c.stdin))
		if string(got) != c.want || fault.CodeOf(err) != c.code {
			t.Errorf("%q %.20q: %.40q, %v", c.args, c.stdin, got, err)
		}
		if err != nil && fault.From(err).Fix == "" {
			t.Errorf("%q: no fix", c.args)
		}
	}
	if _, err := ReadMessage(nil, brokenReader{}); fault.CodeOf(err) != fault.Usage {
		t.Error(err)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("broken") }

// waitFor makes who waits for answers of two of three workers.
func waitFor() (*waiting, *[]Answer) {
	got := &[]Answer{}
	w := newWaiting(api.Outcome{Results: []api.Result{
		{App: "web", Worker: "web#0", PID: 10, Text: "sent"},
		{App: "web", Worker: "web#1", Fault: fault.New(fault.NotRunning, "x")},
		{App: "web", Worker: "web#2", PID: 12, Text: "sent"},
	}}, func(a Answer) { *got = append(*got, a) })
	return w, got
}

func said(pid int, text string) event.Event {
	return event.Event{PID: pid, Data: event.WorkerMessage{Message: json.RawMessage(text), Size: len(text)}}
}

// TestWaiting: the first message of each counts, of these processes only.
func TestWaiting(t *testing.T) {
	w, got := waitFor()
	for _, e := range []event.Event{said(99, "0"), said(12, "1"), said(12, "2"), {PID: 10, Data: event.WorkerStatus{Text: "x"}}} {
		if err := w.event(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.event(said(10, "3")); !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	if len(*got) != 2 || (*got)[0].Line() != "web#2: 1" || (*got)[1].Line() != "web#0: 3" {
		t.Errorf("%+v", *got)
	}
	if f := w.all.Fault(); f == nil || f.Code != fault.Partly {
		t.Error(f)
	}
	text, err := json.Marshal(w.all)
	if err != nil || !strings.Contains(string(text), `{"app":"web","worker":"web#0","pid":10,"message":3,"size":1}`) {
		t.Errorf("%s, %v", text, err)
	}
}

func TestWaitingForTheDeadAndTheSilent(t *testing.T) {
	w, got := waitFor()
	exit := event.WorkerExit{Code: 3, Lines: []string{"last words"}}
	if err := w.event(event.Event{PID: 10, Data: exit}); err != nil {
		t.Fatal(err)
	}
	w.silent()
	if len(*got) != 0 {
		t.Errorf("%+v", *got)
	}
	if f := w.all.Results[0].Fault; f.Code != fault.Exited || f.Where != "web#0" || f.Output[0] != "last words" {
		t.Errorf("%+v", f)
	}
	if f := w.all.Results[2].Fault; f.Code != fault.Timeout || f.Where != "web#2" || f.Fix == "" {
		t.Errorf("%+v", f)
	}
}

// TestLongAnswer says how long it was.
func TestLongAnswer(t *testing.T) {
	a := Answer{Result: api.Result{Worker: "web#0"}, Message: json.RawMessage(`"[1,"`), Size: event.MessageMax + 1}
	if got := a.Line(); got != `web#0: "[1," … (65537 bytes)` {
		t.Error(got)
	}
}

func TestDebuggerReads(t *testing.T) {
	d := Debugger{Worker: "web#0", PID: 10}
	for _, r := range []api.Record{
		{PID: 9, Line: "Debugger listening on ws://127.0.0.1:9229/other"},
		{PID: 10, Line: "I say: Debugger listening on ws://127.0.0.1:9229/x"},
		{PID: 10, Line: "Debugger listening on nothing"},
	} {
		if f := d.read(r); f != nil || d.URL != "" {
			t.Errorf("%s: %+v, %v", r.Line, d, f)
		}
	}
	if f := d.read(api.Record{PID: 10, Line: "Debugger listening on ws://[::1]:9230/4-5"}); f != nil || d.URL != "ws://[::1]:9230/4-5" || d.Address != "[::1]:9230" {
		t.Errorf("%+v, %v", d, f)
	}
	f := d.read(api.Record{PID: 10, Line: "Starting inspector on 127.0.0.1:9230 failed: address already in use"})
	if f == nil || f.Code != fault.PortInUse || !strings.Contains(f.Text, "127.0.0.1:9230") || f.Fix == "" {
		t.Errorf("%+v", f)
	}
}

// TestDebuggerAnswers: one that was closed is opened anew.
func TestDebuggerAnswers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := Debugger{Address: l.Addr().String()}
	if !d.answers() {
		t.Error("it listens")
	}
	l.Close()
	if d.answers() {
		t.Error("it is closed")
	}
}

// TestIsNode: a signal must not end another program, this one for example.
func TestIsNode(t *testing.T) {
	if err := isNode("web#0", api.Worker{PID: 1 << 30}); fault.CodeOf(err) != fault.Usage {
		t.Error(err)
	}
	if err := isNode("web#0", api.Worker{PID: 1 << 30, Node: &api.NodeWorker{}}); err != nil {
		t.Error(err)
	}
}
