package control

import (
	"context"
	"testing"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
)

func TestUpgradeRoute(t *testing.T) {
	g := serve(t, func(o *Options) {
		o.Upgrade = func(_ context.Context, r api.UpgradeRequest) (api.Upgrade, error) {
			if r.Binary == "" {
				return api.Upgrade{}, fault.New(fault.UpgradeFailed, "no")
			}
			return api.Upgrade{Binary: r.Binary, To: "2"}, nil
		}
	})
	u, err := g.client().Upgrade(t.Context(), api.UpgradeRequest{Binary: "/bin/x"})
	if err != nil || u.Binary != "/bin/x" || u.To != "2" {
		t.Errorf("%+v, %v", u, err)
	}
	_, err = g.client().Upgrade(t.Context(), api.UpgradeRequest{})
	wantCode(t, err, fault.UpgradeFailed)
	_, err = serve(t, nil).client().Upgrade(t.Context(), api.UpgradeRequest{})
	wantCode(t, err, fault.Usage)
}

// When the agent leaves for another one, nobody is told that it has ended, and
// running orders are cut off.
func TestLeave(t *testing.T) {
	g := serve(t, nil)
	entered := make(chan bool, 1)
	g.fakes.do = func(ctx context.Context, _ string, _ api.Order) api.Outcome {
		entered <- true
		<-ctx.Done()
		return api.Outcome{Results: []api.Result{{App: "web", Text: "done"}}}
	}
	g.printer("web", 0)("hello")
	g.hub.Publish(event.Event{Data: event.Order{Verb: "test"}})
	ends := map[string]chan error{"order": make(chan error, 1), "events": make(chan error, 1), "logs": make(chan error, 1)}
	heard := make(chan bool, 2)
	go func() { _, err := g.client().Reload(t.Context(), api.Order{Selector: "web"}); ends["order"] <- err }()
	go func() {
		ends["events"] <- g.client().Events(t.Context(), 0, func(event.Event) error { heard <- true; return nil })
	}()
	go func() {
		ends["logs"] <- g.client().Logs(t.Context(), client.LogOptions{Lines: 10, Follow: true}, func(api.Record) error { heard <- true; return nil })
	}()
	receive(t, entered)
	receive(t, heard)
	receive(t, heard)
	g.server.Leave()
	if err := g.stop(); err != nil {
		t.Error(err)
	}
	for name, end := range ends {
		if err := receive(t, end); fault.CodeOf(err) != fault.AgentUnreachable {
			t.Errorf("%s ended with %v", name, err)
		}
	}
}
