package supervisor

import (
	"encoding/json"
	"errors"
	"sync"
	"testing"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/supervisor/mail"
	"github.com/muster-run/muster/spec"
)

// letters is a carrier that keeps what it gets.
type letters struct {
	mu   sync.Mutex
	got  []string
	deaf error
}

func (l *letters) Carry(letter mail.Letter) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.deaf == nil {
		l.got = append(l.got, string(letter.Data))
	}
	return l.deaf
}

func (l *letters) Waiting() (frames, bytes int) { return 0, 0 }

func message(selector, text string) api.Message {
	return api.Message{Selector: selector, Message: json.RawMessage(text)}
}

// TestMessage: each selected worker has a result of its own, also those that cannot
// get it.
func TestMessage(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("api", 1, func(a *spec.App) { a.Tags = []string{"edge"} }), app("web", 3))
		office := &w.sup.shared.Attempts.Mail
		good, deaf := &letters{}, &letters{deaf: errors.New("no")}
		office.Open(&mail.Box{App: "web", Slot: 0, Carrier: good}, 70)
		office.Open(&mail.Box{App: "web", Slot: 1, Carrier: deaf}, 71)
		out := w.sup.Message(w.Context(), message("web", "{\"a\":\r\n [1]}"))
		if len(out.Results) != 3 || out.Fault() == nil || out.Fault().Code != fault.Partly {
			t.Fatalf("%+v", out)
		}
		for i, want := range []struct {
			worker string
			pid    int
			code   fault.Code
		}{{"web#0", 70, ""}, {"web#1", 71, fault.NoChannel}, {"web#2", 0, fault.NotRunning}} {
			r := out.Results[i]
			if r.App != "web" || r.Worker != want.worker || r.PID != want.pid || (r.Fault != nil) != (want.code != "") || (r.Fault == nil) != (r.Text != "") {
				t.Errorf("%+v, want %+v", r, want)
			}
			if r.Fault != nil && (r.Fault.Code != want.code || r.Fault.Where != want.worker) {
				t.Errorf("%+v, want %+v", r.Fault, want)
			}
		}
		if len(good.got) != 1 || good.got[0] != `{"a":   [1]}` {
			t.Errorf("%q", good.got)
		}
		if out := w.sup.Message(w.Context(), message("web#0", `"\ud83d\n"`)); out.Fault() != nil || len(out.Results) != 1 {
			t.Errorf("%+v", out)
		}
		if good.got[1] != `"\ud83d\n"` {
			t.Errorf("%q", good.got)
		}
	})
}

func TestMessageToNobody(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("api", 1), app("none", 0))
		for _, c := range []struct {
			selector, text string
			code           fault.Code
		}{
			{"nobody", "1", fault.NoApp},
			{"api#4", "1", fault.NoApp},
			{"web#x", "1", fault.Usage},
			{"api", `{"cmd":"MUSTER_READY"}`, fault.Usage},
			{"api", `{"cmd":"NODE_CLUSTER"}`, fault.Usage},
			{"api#0", "1", fault.NotRunning}, // the world's processes have no channel
			{"none", "1", fault.NotRunning},
		} {
			out := w.sup.Message(w.Context(), message(c.selector, c.text))
			if f := out.Fault(); f == nil || f.Code != c.code || len(out.Results) != 1 {
				t.Errorf("%s %s: %+v", c.selector, c.text, out)
			}
		}
	})
}
