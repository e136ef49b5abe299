package need

import (
	"strings"
	"testing"
	"time"

	"github.com/muster-run/muster/spec"
)

func mode(m spec.ReadyMode) func(*spec.App) { return func(a *spec.App) { a.Ready.Mode = m } }

func listens(network string) func(*spec.App) {
	return func(a *spec.App) {
		a.Listen = append(a.Listen, spec.Listener{Name: "http", Network: network, Address: "127.0.0.1:8000"})
	}
}

func both(changes ...func(*spec.App)) func(*spec.App) {
	return func(a *spec.App) {
		for _, c := range changes {
			c(a)
		}
	}
}

func port(a *spec.App) { a.Ports = []spec.Port{{Name: "http", Number: 8000, Env: "PORT"}} }

// S1.12, S3: what each mode waits for, in a Node.js worker too.
func TestNeeds(t *testing.T) {
	check := func(a *spec.App) { h := spec.DefaultHealth(); a.Health = &h }
	for _, tt := range []struct {
		name       string
		app        func(*spec.App)
		want, node Set
	}{
		{"auto, nothing known", nil, Alive, Servers},
		{"auto, listeners", listens("tcp"), Listening, Servers},
		{"auto, a datagram socket says nothing", listens("udp"), Alive, Servers},
		{"auto, health", check, Probe, Servers | Probe},
		{"auto, listeners and health", both(listens("tcp"), check), Listening | Probe, Servers | Probe},
		{"auto, ports", port, Port, Servers},
		{"auto, health is stronger than ports", both(port, check), Probe, Servers | Probe},
		{"notify", mode(spec.ReadyNotify), Notify, Notify},
		{"notify, listeners", both(mode(spec.ReadyNotify), listens("unix")), Notify | Listening, Notify | Servers},
		{"notify, datagrams", both(mode(spec.ReadyNotify), listens("udp")), Notify, Notify},
		{"listening", both(mode(spec.ReadyListening), listens("tcp"), check), Listening, Servers},
		{"probe", both(mode(spec.ReadyProbe), listens("tcp"), check), Probe, Probe},
		{"port", both(mode(spec.ReadyPort), port), Port, Servers},
		{"output", mode(spec.ReadyOutput), Output, Output},
		{"alive", both(mode(spec.ReadyAlive), listens("tcp")), Alive, Alive},
		{"a task is ready at once", both(listens("tcp"), func(a *spec.App) { a.Type = spec.Task }), 0, 0},
	} {
		app := spec.DefaultApp("web")
		if tt.app != nil {
			tt.app(&app)
		}
		if got := Of(app); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got.Words(), tt.want.Words())
		}
		if got := OfCluster(app); got != tt.node {
			t.Errorf("%s, a Node.js worker: %s, want %s", tt.name, got.Words(), tt.node.Words())
		}
	}
}

// What a record says is understood again; what it cannot say is not waited for.
func TestWords(t *testing.T) {
	for n := range Set(1 << 7) {
		if got := In(n.Words()); got != n {
			t.Errorf("%b became %q and %b", n, n.Words(), got)
		}
	}
	if got := In("servers,tomorrow,probe"); got != Servers|Probe {
		t.Errorf("%b", got)
	}
	app := spec.DefaultApp("web")
	if text := (Servers | Probe).Missing(app); !strings.Contains(text, "server") || !strings.Contains(text, "health check") {
		t.Error(text)
	}
	for n := Set(1); n < 1<<7; n <<= 1 {
		if n.Missing(app) == "" {
			t.Errorf("%s has no words", n.Words())
		}
	}
	if AliveFor(app) != time.Second {
		t.Error(AliveFor(app))
	}
}
