package operations

import (
	"encoding/json"
	"testing"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
	"github.com/muster-run/muster/internal/process"
)

// shop has an app web with two workers, of which the first takes part.
func shop(t *testing.T) (ops *Operations, heard func() []op.Frame) {
	t.Helper()
	store := process.NewDirectStore()
	t.Cleanup(func() { _ = store.Close() })
	r := open(t, store, 1)
	h := r.home.home()
	h.Status = func() api.Status {
		return api.Status{Apps: []api.App{{Name: "web", Role: "front", Workers: []api.Worker{{Slot: 0}, {Slot: 1}}}}}
	}
	r.ops.Begin(h)
	frames := make(chan op.Frame, 100)
	seat := r.ops.Exchange().Enter(op.Party{
		ID: "web/0", App: "web", Role: "front", Name: "web#0", Waiting: func() (int, int) { return 0, 0 },
		Send: func(line []byte) error {
			f, err := op.Parse(append([]byte(nil), line...))
			frames <- f
			return err
		},
	}, false)
	seat.Ready(7, true)
	seat.Hear([]byte(`{"cmd":"MUSTER_OP","op":"hello","id":1}`))
	return r.ops, func() (list []op.Frame) {
		for len(frames) > 0 {
			list = append(list, <-frames)
		}
		return list
	}
}

// What cannot be asked is refused at once, with the code that says why.
func TestAskNobody(t *testing.T) {
	ops, heard := shop(t)
	for _, c := range []struct {
		ask  api.Ask
		want fault.Code
		fix  string
	}{
		{ask: api.Ask{Selector: "wen", Op: "x"}, want: fault.NoApp, fix: "did you mean web?"},
		{ask: api.Ask{Selector: "web#7", Op: "x"}, want: fault.NoApp},
		{ask: api.Ask{Selector: "role:no", Op: "x"}, want: fault.NoApp},
		{ask: api.Ask{Selector: "role:no", Op: "x", All: true}, want: fault.NoApp},
		{ask: api.Ask{Selector: "web#1", Op: "x"}, want: fault.NoPeer},
		{ask: api.Ask{Selector: "web#1", Op: "x", All: true}, want: fault.NoPeer},
		{ask: api.Ask{Selector: "client:no", Op: "x"}, want: fault.NoPeer},
		{ask: api.Ask{Selector: "client:no", Op: "x", All: true}, want: fault.NoPeer},
		{ask: api.Ask{Selector: "web#x", Op: "x"}, want: fault.Usage},
		{ask: api.Ask{Selector: "web", Op: "x", WithinMS: -1}, want: fault.Usage},
		{ask: api.Ask{Selector: "web", Op: "x", WithinMS: 48 * 3600 * 1000}, want: fault.Usage},
		{ask: api.Ask{Selector: "web", Op: op.AgentNew}, want: fault.Denied},
		{ask: api.Ask{Selector: "web", Op: op.ConsoleOpen}, want: fault.Denied},
	} {
		_, err := ops.Ask(t.Context(), c.ask)
		if f := fault.From(err); err == nil || f.Code != c.want || c.fix != "" && f.Fix != c.fix {
			t.Errorf("%+v: %v", c.ask, err)
		}
	}
	for _, f := range heard() {
		if f.Op == op.AgentNew || f.Op == op.ConsoleOpen || f.Op == "x" {
			t.Errorf("web#0 was told %s", f.Op)
		}
	}
}

// A console is that of one worker, as it is closed by the same name.
func TestConsoleOfOne(t *testing.T) {
	ops, heard := shop(t)
	for worker, want := range map[string]fault.Code{
		"web": fault.Usage, "all": fault.Usage, "web#0,web#1": fault.Usage, "*#0": fault.Usage, "": fault.Usage,
		"nope#0": fault.NoApp, "web#9": fault.NoApp, "web#1": fault.ConsoleFailed,
	} {
		_, err := ops.Console(t.Context(), api.ConsoleOrder{Worker: worker})
		if fault.CodeOf(err) != want {
			text, _ := json.Marshal(err)
			t.Errorf("%q: %s", worker, text)
		}
	}
	for _, f := range heard() {
		if f.Op == op.ConsoleOpen {
			t.Error("a console was opened")
		}
	}
}
