package talk

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/peer"
	"github.com/muster-run/muster/test/rig"
)

// message is one of muster:life.
type message struct {
	op     string
	Worker string `json:"worker"`
	PID    int    `json:"pid"`
	Port   int    `json:"port"`
	Code   *int   `json:"code"`
	Signal string `json:"signal"`
	Phase  string `json:"phase"`
	Done   int    `json:"done"`
	Total  int    `json:"total"`
	Why    string `json:"why"`
}

// watched is an app whose life somebody hears of.
type watched struct {
	*rig.Project
	t    *testing.T
	port int

	mu    sync.Mutex
	heard []message
	notes []string // occasions that a notifier has told
}

// watch runs two Node.js workers of programs/life.js, and has a client subscribe.
func watch(t *testing.T) *watched {
	t.Helper()
	w := &watched{t: t, port: rig.WidePort(t)}
	hook := httptest.NewServer(http.HandlerFunc(w.note))
	t.Cleanup(hook.Close)
	w.Project = rig.New(t, fmt.Sprintf("version: 1\nnotify: {ops: %s}\napps:\n  life:\n    command: %q\n    workers: 2\n    env: {PORT: \"%d\"}\n    ready: {timeout: 3s}\n    stop: {timeout: 5s}\n",
		hook.URL, "node "+filepath.Join(rig.Root(), "test", "show", "talk", "programs", "life.js"), w.port))
	w.Write("mode.txt", "good")
	w.Up()
	if _, err := join(t, w.Project, "watch").Subscribe(t.Context(), "muster:life", peer.SubscribeOptions{}, w.hear); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *watched) hear(_ context.Context, m *peer.Message) {
	one := message{op: m.Op}
	if err := m.Decode(&one); err != nil || m.From != "muster" {
		w.t.Errorf("%s of %s: %v", m.Op, m.From, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heard = append(w.heard, one)
}

// note takes what the notifier tells.
func (w *watched) note(_ http.ResponseWriter, r *http.Request) {
	var n struct {
		Event string `json:"event"`
	}
	if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
		w.t.Error(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notes = append(w.notes, n.Event)
}

// forget begins anew.
func (w *watched) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heard = nil
}

// wait waits for a message and returns it; what says which.
func (w *watched) wait(what string, is func(message) bool) (found message) {
	w.t.Helper()
	rig.Until(w.t, 30*time.Second, what, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, m := range w.heard {
			if is(m) {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// of are the ops that were told of a process, in order, in one line.
func (w *watched) of(pid int) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var ops []string
	for _, m := range w.heard {
		if m.PID == pid && strings.HasPrefix(m.op, "worker:") {
			ops = append(ops, strings.TrimPrefix(m.op, "worker:"))
		}
	}
	return strings.Join(ops, " ")
}

// phases are those of reloads, each once in a row.
func (w *watched) phases() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []string
	for _, m := range w.heard {
		if m.Phase != "" && (len(list) == 0 || list[len(list)-1] != m.Phase) {
			list = append(list, m.Phase)
		}
	}
	return strings.Join(list, " ")
}

func phase(name string) func(message) bool { return func(m message) bool { return m.Phase == name } }

// Life: what a subscriber hears of starts, ends, a reload that is good, one that fails,
// one that never gets ready, and one that waits for it (S0.2, S0.6).
func Life(t *testing.T) string {
	w := watch(t)
	w.goodReload()
	w.failingReload()
	w.hangingReload()
	w.killed()
	w.Down()
	return "start, online, listen, ready, drain, disconnect, exit; reloads done, failed, never ready, queued"
}

func (w *watched) goodReload() {
	before := w.PIDs("life")
	w.Must("reload", "life")
	end := w.wait("the reload ends", func(m message) bool { return m.op == "reload:end" })
	if end.Phase != "done" || end.Done != 2 || end.Total != 2 || end.Worker != "" {
		w.t.Errorf("the end: %+v", end)
	}
	if got := w.phases(); got != "building running done" {
		w.t.Errorf("phases: %s", got)
	}
	after := w.PIDs("life")
	for slot, pid := range before {
		w.wait("the new one's start", func(m message) bool { return m.op == "worker:start" && m.Worker == fmt.Sprintf("life#%d", slot) })
		w.wait("the old one's exit", func(m message) bool { return m.op == "worker:exit" && m.PID == pid })
		if got := w.of(pid); got != "drain disconnect exit" {
			w.t.Errorf("of the old worker %d: %s", slot, got)
		}
		if got := w.of(after[slot]); got != "online listen ready" {
			w.t.Errorf("of the new worker %d: %s", slot, got)
		}
		if m := w.wait("its port", func(m message) bool { return m.op == "worker:listen" && m.PID == after[slot] }); m.Port != w.port || m.Worker != fmt.Sprintf("life#%d", slot) {
			w.t.Errorf("it listens: %+v", m)
		}
	}
}

func (w *watched) failingReload() {
	w.forget()
	w.Write("mode.txt", "fail")
	before := w.PIDs("life")
	if r := w.Run("reload", "life"); r.Code != 1 || !strings.Contains(r.Stderr, "mode fail") {
		w.t.Errorf("a release that fails: %v", r)
	}
	if end := w.wait("the reload ends", func(m message) bool { return m.op == "reload:end" }); end.Phase != "failed" || end.Why == "" {
		w.t.Errorf("the end: %+v", end)
	}
	exit := w.wait("its exit", func(m message) bool { return m.op == "worker:exit" })
	if exit.Code == nil || *exit.Code != 3 || exit.PID == before[0] || exit.PID == before[1] {
		w.t.Errorf("the exit: %+v", exit)
	}
	if got := w.phases(); got != "building running reverting failed" {
		w.t.Errorf("phases: %s", got)
	}
	if after := w.PIDs("life"); fmt.Sprint(after) != fmt.Sprint(before) {
		w.t.Errorf("workers were replaced: %v, then %v", before, after)
	}
}

func (w *watched) hangingReload() {
	w.forget()
	w.Write("mode.txt", "hang")
	before := w.PIDs("life")
	first := w.Begin(w.Cmd("reload", "life"))
	rig.Until(w.t, 20*time.Second, "it hangs", func() bool {
		for _, r := range w.Records("life") {
			if r.Line == "mode hang" {
				return true
			}
		}
		return false
	})
	w.Write("mode.txt", "better")
	second := w.Begin(w.Cmd("reload", "life"))
	w.wait("the second one is told to wait", phase("queued"))
	r := first()
	if r.Code != 1 || !strings.Contains(r.Stderr, "E-READY-TIMEOUT") && !strings.Contains(r.Stderr, "E-RELOAD-FAILED") || !strings.Contains(r.Stderr, "life#0") || r.Took > 20*time.Second {
		w.t.Errorf("a worker that never gets ready: %v", r)
	}
	failed := w.wait("the first one fails", phase("failed"))
	if failed.op != "reload:end" || !strings.Contains(failed.Why, "life#0") {
		w.t.Errorf("its end: %+v", failed)
	}
	if r := second(); r.Code != 0 {
		w.t.Errorf("the second reload: %v", r)
	}
	w.wait("the second one is done", phase("done"))
	if after := w.PIDs("life"); after[0] == before[0] || after[1] == before[1] {
		w.t.Errorf("workers were not replaced: %v, then %v", before, after)
	}
	if got := rig.Ask(fmt.Sprintf("http://127.0.0.1:%d/", w.port)); got != "better" {
		w.t.Errorf("it serves %q", got)
	}
}

func (w *watched) killed() {
	w.forget()
	pid := w.PIDs("life")[1]
	_ = syscall.Kill(pid, syscall.SIGKILL)
	exit := w.wait("its exit", func(m message) bool { return m.op == "worker:exit" })
	if exit.Worker != "life#1" || exit.Signal != "SIGKILL" || exit.Code == nil || *exit.Code != -1 || exit.PID != pid {
		w.t.Errorf("the exit: %+v", exit)
	}
	w.wait("the next one is ready", func(m message) bool { return m.op == "worker:ready" && m.Worker == "life#1" })
	// The reloads that failed were answered to who ordered them; this was not ordered.
	told := ""
	if !rig.Within(20*time.Second, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		told = strings.Join(w.notes, " ")
		return told == "started crash recovered"
	}) {
		w.t.Errorf("people outside were told: %s", told)
	}
}
