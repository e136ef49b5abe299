package talk

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/peer"
	"github.com/muster-run/muster/test/rig"
)

// tuned is an app of each language whose programs print settings that change.
type tuned struct {
	*rig.Project
	t *testing.T
}

// configure writes muster.yaml; more is added to each app's settings.
func (s *tuned) configure(more string) {
	s.t.Helper()
	dir := filepath.Join(rig.Root(), "test", "show", "talk", "programs")
	var yaml strings.Builder
	yaml.WriteString("version: 1\napps:\n")
	for name, command := range map[string]string{
		"go": rig.Prop() + " settings", "node": "node " + filepath.Join(dir, "settings.js"), "python": "python3 " + filepath.Join(dir, "settings.py"),
	} {
		fmt.Fprintf(&yaml, "  %s:\n    command: %q\n    ready: notify\n    stop: {timeout: 1s}\n%s", name, command, more)
	}
	s.Write("muster.yaml", yaml.String())
}

// all are the pids of the three workers.
func (s *tuned) all() (pids []int) {
	for _, app := range Languages() {
		pids = append(pids, s.PIDs(app)[0])
	}
	return pids
}

// told waits until every worker has printed so many changes, and returns the last one.
func (s *tuned) told(times int) map[string]peer.Settings {
	s.t.Helper()
	last := map[string]peer.Settings{}
	for _, app := range Languages() {
		var texts []string
		rig.Until(s.t, 20*time.Second, fmt.Sprintf("%s is told of %d changes", app, times), func() bool {
			texts = nil
			for _, r := range s.Records(app) {
				if text, ok := strings.CutPrefix(r.Line, "config "); ok {
					texts = append(texts, text)
				}
			}
			return len(texts) >= times
		})
		var now peer.Settings
		if err := json.NewDecoder(strings.NewReader(texts[len(texts)-1])).Decode(&now); err != nil || len(texts) > times {
			s.t.Errorf("%s was told %q: %v", app, texts, err)
		}
		last[app] = now
	}
	return last
}

// orders expects what each worker hears when it orders what is not its own.
func (s *tuned) orders(want string) {
	s.t.Helper()
	c := join(s.t, s.Project, "asker")
	defer c.Close()
	for _, app := range Languages() {
		var code string
		if err := c.Request(s.t.Context(), app, "order", nil, &code); err != nil || code != want {
			s.t.Errorf("an order of %s: %s, %v; want %s", app, code, err, want)
		}
	}
}

// beating waits until each worker has joined and gives signs of life to this agent.
func (s *tuned) beating() {
	s.t.Helper()
	rig.Until(s.t, 20*time.Second, "signs of life", func() bool {
		st, ok := s.TryStatus()
		return ok && !slices.ContainsFunc(st.Apps, func(a api.App) bool {
			w := a.Workers[0]
			return !w.Joined || w.LastBeat == nil || time.Since(*w.LastBeat) > 2*time.Second
		})
	})
}

// Tuned: heartbeat, console and allow change under running workers, which are told in
// every language; they hold with the next agent, which changes them likewise. Another
// role is part of how a worker is started.
func Tuned(t *testing.T) string {
	s := &tuned{t: t, Project: rig.New(t, "version: 1\napps: {}\n")}
	s.configure("")
	s.Up()
	pids := s.all()
	s.orders("E-DENIED")
	s.configure("    heartbeat: {interval: 1s, kill: 3s}\n    console: {port: 23000}\n    allow: [orders]\n")
	s.Must("up", "-d")
	for app, now := range s.told(1) {
		if now.HeartbeatMS != 1000 || now.ConsolePort != 23000 || !slices.ContainsFunc(now.Changes, func(c string) bool { return strings.HasPrefix(c, "heartbeat.interval") }) {
			t.Errorf("%s was told %+v", app, now)
		}
	}
	s.beating()
	s.orders("E-NO-APP")
	agent := s.Status().AgentPID
	_ = syscall.Kill(agent, syscall.SIGKILL)
	rig.Until(t, 20*time.Second, "another agent answers", func() bool {
		st, ok := s.TryStatus()
		return ok && st.AgentPID != agent
	})
	s.beating()
	s.orders("E-NO-APP")
	s.configure("    heartbeat: {interval: 1s, kill: 2s}\n")
	s.Must("up", "-d")
	for app, now := range s.told(2) {
		if now.HeartbeatMS != 1000 || now.ConsolePort != 0 {
			t.Errorf("%s was told %+v", app, now)
		}
	}
	s.orders("E-DENIED")
	if now := s.all(); !slices.Equal(now, pids) {
		t.Errorf("workers were replaced: %v, then %v", pids, now)
	}
	_ = syscall.Kill(pids[0], syscall.SIGSTOP) // silent by rules that came after the agent
	rig.Until(t, 20*time.Second, "it is replaced for its silence", func() bool { now := s.PIDs("go")[0]; return now != 0 && now != pids[0] })
	s.configure("    role: jobs\n")
	s.Must("up", "-d")
	c := join(t, s.Project, "asker")
	for answer, err := range c.Gather(t.Context(), "role:jobs", "role", nil) {
		if err != nil || string(answer.Body) != `"jobs"` {
			t.Errorf("%s: %s, %v", answer.From, answer.Body, err)
		}
	}
	if now := s.all(); now[1] == pids[1] || now[2] == pids[2] {
		t.Errorf("a role needs other processes: %v, then %v", pids, now)
	}
	s.Down()
	return "heartbeat, console and allow changed under workers of three languages, by two agents; each was told what"
}
