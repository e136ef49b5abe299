package operations

import (
	"context"
	"testing"
	"time"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
	"github.com/muster-run/muster/peer"
)

// The life of workers as others hear it (S0.2, S0.6).
func TestLife(t *testing.T) {
	r := begun(t)
	w := r.worker("web", 0)
	heard := make(chan string, 100)
	if _, err := w.Subscribe(within(t), op.LifeChannel, peer.SubscribeOptions{}, func(_ context.Context, m *peer.Message) {
		heard <- m.Op + " " + string(m.Body)
	}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		data event.Data
		want string // "": nobody hears of it
	}{
		{event.WorkerState{To: event.Starting, Why: "reload"}, `worker:start {"app":"api","worker":"api#2","slot":2,"pid":9,"why":"reload"}`},
		{event.WorkerState{To: event.Ready}, `worker:ready {"app":"api","worker":"api#2","slot":2,"pid":9}`},
		{event.WorkerState{To: event.Draining}, `worker:drain {"app":"api","worker":"api#2","slot":2,"pid":9}`},
		{event.WorkerState{To: event.Stopping}, ""},
		{event.WorkerState{To: event.Backoff}, ""},
		{event.WorkerState{To: event.Stopped}, ""},
		{event.WorkerState{To: event.Failed, Why: "no"}, `worker:failed {"app":"api","worker":"api#2","slot":2,"pid":9,"why":"no"}`},
		{event.WorkerNode{State: "online"}, `worker:online {"app":"api","worker":"api#2","slot":2,"pid":9}`},
		{event.WorkerNode{State: "listening", Address: "0.0.0.0", Port: 80}, `worker:listen {"app":"api","worker":"api#2","slot":2,"pid":9,"address":"0.0.0.0","port":80}`},
		{event.WorkerNode{State: "disconnected"}, `worker:disconnect {"app":"api","worker":"api#2","slot":2,"pid":9}`},
		{event.WorkerExit{Code: 0}, `worker:exit {"app":"api","worker":"api#2","slot":2,"pid":9,"code":0}`},
		{event.WorkerExit{Code: -1, Signal: "SIGKILL"}, `worker:exit {"app":"api","worker":"api#2","slot":2,"pid":9,"code":-1,"signal":"SIGKILL"}`},
		{event.WorkerStatus{Text: "x"}, ""},
		{event.Reload{Phase: event.ReloadRunning, Done: 1, Total: 4}, `reload:progress {"app":"api","worker":"api#2","slot":2,"pid":9,"phase":"running","done":1,"total":4}`},
		{event.Reload{Phase: event.ReloadFailed, Done: 1, Total: 4, Fault: fault.New(fault.ReloadFailed, "it fails").At("api#0 (pid 9)")}, `reload:end {"app":"api","worker":"api#2","slot":2,"pid":9,"phase":"failed","done":1,"total":4,"why":"api#0 (pid 9): it fails"}`},
	} {
		r.hub.Publish(event.Event{App: "api", Slot: 2, PID: 9, Data: c.data})
		if c.want == "" {
			continue // the next one shows that nothing came
		}
		select {
		case got := <-heard:
			if got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		case <-time.After(patience):
			t.Fatal("nothing came for", c.want)
		}
	}
	// An event of the whole app names no worker.
	r.hub.Publish(event.Event{App: "api", Slot: event.NoSlot, Data: event.Reload{Phase: event.ReloadFailed, Fault: fault.New(fault.BuildFailed, "no")}})
	if got := <-heard; got != `reload:end {"app":"api","phase":"failed","why":"no"}` {
		t.Error(got)
	}
}
