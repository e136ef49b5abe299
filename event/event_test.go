package event

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-run/muster/fault"
)

// all has a filled value of every kind of data.
func all() []Data {
	next := time.Date(2026, 11, 22, 5, 0, 0, 0, time.UTC)
	return []Data{
		AgentStarted{PID: 1, Version: "1.0", Project: "p"},
		AgentStopping{Reason: "signal SIGTERM", ExitCode: 3},
		Applied{Changes: []string{"web: workers 2 → 3"}},
		AppState{From: Healthy, To: Degraded, Why: "1 of 2 ready"},
		WorkerState{From: Ready, To: Backoff, Why: "exit code 1", Next: &next, Release: "r2"},
		WorkerExit{Code: -1, Signal: "SIGKILL", Core: true, Uptime: time.Minute, Planned: true, Lines: []string{"last"}},
		WorkerHealth{OK: false, Failures: 2, Text: "connection refused"},
		WorkerStatus{Text: "ready"},
		WorkerNode{ID: 7, State: "listening", Address: "::", Port: 80, AddressType: "6", ExitedAfterDisconnect: true},
		WorkerMessage{Message: json.RawMessage(`{"a":[1,"x"]}`), Size: 15, Descriptors: 1, Missed: 2},
		Reload{Phase: ReloadFailed, Release: "r3", Done: 1, Total: 4, Fault: &fault.Fault{Code: fault.ReadyTimeout, Text: "x", Output: []string{"y"}}},
		Warning{Fault: fault.Fault{Code: fault.LogWrite, Text: "disk full", Fix: "free space"}},
		Order{Verb: "reload", Target: "web", By: "uid 0 pid 1"},
	}
}

func TestEveryKindCrossesTheWire(t *testing.T) {
	kinds := map[string]bool{}
	for _, data := range all() {
		e := Event{
			Seq: 7, Time: time.Date(2026, 11, 22, 5, 3, 0, 0, time.UTC), Node: "n", App: "web",
			Slot: 2, Generation: 3, PID: 4711, Type: data.Kind(), Data: data,
		}
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var back Event
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, back); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
		if kinds[data.Kind()] {
			t.Error("two kinds are called", data.Kind())
		}
		kinds[data.Kind()] = true
		if v := reflect.ValueOf(data); v.Kind() != reflect.Struct {
			t.Errorf("%s is a %s", data.Kind(), v.Kind())
		}
	}
	for _, data := range Kinds() {
		if !kinds[data.Kind()] {
			t.Error("not tested:", data.Kind())
		}
	}
}

// TestFromANewerAgent: unknown events and fields pass through unchanged.
func TestFromANewerAgent(t *testing.T) {
	text := `{"seq":1,"time":"2026-11-22T05:03:00Z","slot":-1,"type":"bus.lost","data":{"peer":"b","n":[1,2]}}`
	var e Event
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Fatal(err)
	}
	if e.Type != "bus.lost" || e.Data.Kind() != "bus.lost" || e.Worker() != "muster" {
		t.Errorf("%+v", e)
	}
	again, err := json.Marshal(e)
	if err != nil || string(again) != text {
		t.Errorf("%s, %v", again, err)
	}
	known := `{"seq":1,"slot":0,"app":"web","type":"worker.status","data":{"text":"x","mood":"good"},"more":1}`
	if err := json.Unmarshal([]byte(known), &e); err != nil || e.Data != (WorkerStatus{Text: "x"}) {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestBadJSON(t *testing.T) {
	for _, text := range []string{
		`{`, `[]`, `{"type":"worker.status","data":7}`, `{"seq":-1}`,
		`{"type":"worker.exit"}`, `{"type":"worker.exit","data":[]}`,
	} {
		var e Event
		if err := json.Unmarshal([]byte(text), &e); err == nil {
			t.Errorf("%s is %+v", text, e)
		}
	}
}

// TestUnknownWithoutData can be sent on.
func TestUnknownWithoutData(t *testing.T) {
	var e Event
	if err := json.Unmarshal([]byte(`{"type":"new"}`), &e); err != nil {
		t.Fatal(err)
	}
	if text, err := json.Marshal(e); err != nil {
		t.Errorf("%s, %v", text, err)
	}
}

func TestWorkerName(t *testing.T) {
	for _, c := range []struct {
		e    Event
		want string
	}{
		{Event{}, "muster"},
		{Event{Slot: NoSlot}, "muster"},
		{Event{App: "web", Slot: NoSlot}, "web"},
		{Event{App: "web", Slot: 0}, "web#0"},
		{Event{App: "web", Slot: 12}, "web#12"},
	} {
		if got := c.e.Worker(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
