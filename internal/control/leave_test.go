package control

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
)

// The next agent goes on with the same socket: who waits in its queue is answered.
func TestAdopt(t *testing.T) {
	path := filepath.Join(tempDir(t), "c.sock")
	first, err := Listen(path, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := first.File()
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	first.Keep()
	first.Close()
	waiting, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	second, err := Adopt(kept, path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := second.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	second.Close()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Close has left the socket: %v", err)
	}
	_, err = Adopt(kept, path)
	wantCode(t, err, fault.SocketGone)
}

func TestAdoptWantsItsOwnSocket(t *testing.T) {
	dir := tempDir(t)
	listen(t, filepath.Join(dir, "a.sock"), "", 0)
	other, err := Listen(filepath.Join(dir, "b.sock"), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	f, err := other.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = Adopt(f, filepath.Join(dir, "a.sock"))
	wantCode(t, err, fault.Internal)
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Adopt(f, filepath.Join(dir, "file"))
	wantCode(t, err, fault.SocketGone)
}

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
