package cli

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/cli/talk"
)

// What the next status says decides how an upgrade went. An agent that was
// killed before it handed over is found out at once.
func TestUpgraded(t *testing.T) {
	planned := api.Upgrade{Time: time.Now()}
	earlier, later := planned.Time.Add(-time.Minute), planned.Time.Add(time.Minute)
	before := api.Status{AgentPID: 1, AgentStartedAt: earlier}
	theirs, ours := &api.Upgrade{Time: earlier}, &api.Upgrade{Time: planned.Time}
	for name, c := range map[string]struct {
		now  []api.Status
		code fault.Code
	}{
		"it goes well": {[]api.Status{{AgentPID: 1, AgentStartedAt: earlier}, {AgentPID: 2, AgentStartedAt: later, Upgrade: ours}}, ""},
		"planned by an agent that another upgrade has just brought": {[]api.Status{
			{AgentPID: 2, AgentStartedAt: planned.Time.Add(-1), Upgrade: theirs}, {AgentPID: 3, AgentStartedAt: later, Upgrade: ours},
		}, ""},
		"killed":                       {[]api.Status{{AgentPID: 2, AgentStartedAt: later}}, fault.UpgradeFailed},
		"killed, with an earlier one":  {[]api.Status{{AgentPID: 2, AgentStartedAt: later, Upgrade: theirs}}, fault.UpgradeFailed},
		"the same one stays, for ever": {[]api.Status{{AgentPID: 1, AgentStartedAt: earlier, Upgrade: theirs}}, fault.Timeout},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			if c.code == fault.Timeout {
				bounded, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
				defer cancel()
				ctx = bounded
			}
			now, err := talk.Upgraded(ctx, client.New(client.Options{Socket: answering(t, c.now)}), before, planned)
			if c.code == fault.Timeout && ctx.Err() != nil && err != nil {
				return
			}
			if fault.CodeOf(err) != c.code || err == nil && now.AgentPID != c.now[len(c.now)-1].AgentPID {
				t.Errorf("%+v, %v", now, err)
			}
		})
	}
}

// answering is the socket of an agent that answers with one after the other, and
// stays with the last.
func answering(t *testing.T, list []api.Status) string {
	path := filepath.Join(t.TempDir(), "a.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan api.Status, len(list))
	for _, st := range list[:len(list)-1] {
		answers <- st
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		st := list[len(list)-1]
		select {
		case st = <-answers:
		default:
		}
		_ = json.NewEncoder(w).Encode(st)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-done })
	return path
}
