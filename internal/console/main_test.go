package console

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// desk is a console of a test: a Commander that notes what it is given, and an Agent.
type desk struct {
	mu       sync.Mutex
	given    []string
	codes    map[string]int // of verbs
	hold     chan struct{}  // closed when the verb "hold" runs; it ends with its context
	failures []*fault.Fault
	out      bytes.Buffer

	commands []api.Command
	asked    []api.CommandRun
	replies  api.Replies
	gone     error
}

func (d *desk) Run(ctx context.Context, args []string) int {
	d.mu.Lock()
	d.given = append(d.given, strings.Join(args, " "))
	d.mu.Unlock()
	if args[0] == "logs" && d.hold != nil {
		close(d.hold)
		<-ctx.Done()
		return interrupted
	}
	return d.codes[args[0]]
}

func (d *desk) Complete(_ context.Context, words []string) []Candidate {
	if len(words) == 1 {
		return texts("restart", "set", "status", "stop")
	}
	return texts("web", "web#0", "web#1")
}

func (d *desk) Verbs() []string {
	return []string{"restart", "stop", "start", "set", "status", "logs", "down", "help"}
}

func (d *desk) Fail(err error) int {
	d.failures = append(d.failures, fault.From(err))
	return fault.ExitCode(err)
}

func (d *desk) Commands(context.Context) (api.Commands, error) {
	return api.Commands{Commands: d.commands}, d.gone
}

func (d *desk) RunCommand(_ context.Context, r api.CommandRun) (api.Replies, error) {
	d.asked = append(d.asked, r)
	return d.replies, nil
}

func (d *desk) Spec(context.Context, bool) (spec.Spec, error) {
	return spec.Spec{Apps: []spec.App{
		{Name: "web", Ports: []spec.Port{{Name: "http"}, {Name: "admin"}}, Listen: []spec.Listener{{Name: "main", Network: "tcp"}, {Name: "sock", Network: "unix"}}},
		{Name: "api", Ports: []spec.Port{{Name: "admin"}}},
	}}, d.gone
}

func (d *desk) options() Options {
	return Options{Commander: d, Agent: d, Out: &d.out, Notes: &d.out}
}

// piped carries out lines and returns the exit code.
func (d *desk) piped(t *testing.T, lines string, change ...func(*Options)) int {
	t.Helper()
	o := d.options()
	o.Stdin = strings.NewReader(lines)
	for _, f := range change {
		f(&o)
	}
	return Piped(t.Context(), o)
}

func reply(from string, body any) api.Reply {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return api.Reply{From: from, Body: text}
}

// said is the last failure in words.
func (d *desk) said() string {
	if len(d.failures) == 0 {
		return ""
	}
	f := d.failures[len(d.failures)-1]
	return fmt.Sprintf("%s: %s; %s", f.Where, f.Text, f.Fix)
}
