package talk

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-run/muster/test/rig"
)

// Languages are those that the chat room is written in; each is an app of that name.
func Languages() []string { return []string{"go", "node", "python"} }

// commands are the programs, by language.
func commands() map[string]string {
	dir := filepath.Join(rig.Root(), "examples", "chat")
	return map[string]string{"go": rig.Chat(), "node": "node " + filepath.Join(dir, "chat.js"), "python": "python3 " + filepath.Join(dir, "chat.py")}
}

// room is the three apps, running.
type room struct {
	*rig.Project
	t       *testing.T
	workers int
	// ports of the first worker of each app; worker N has N more.
	ports  map[string]int
	client http.Client
}

// open starts a room with so many workers for each app. more is added to each app's
// settings, such as "    stop: {timeout: 2s}\n".
func open(t *testing.T, workers int, more string) *room {
	t.Helper()
	r := &room{t: t, workers: workers, ports: map[string]int{}, client: http.Client{Timeout: time.Minute}}
	var yaml strings.Builder
	yaml.WriteString("version: 1\napps:\n")
	for name, command := range commands() {
		r.ports[name] = rig.WidePort(t)
		fmt.Fprintf(&yaml, "  %s:\n    command: %q\n    workers: %d\n    ports: {http: {port: %d, increment: 1}}\n    env: {TOPIC: topic.txt}\n    ready: port\n%s",
			name, command, workers, r.ports[name], more)
	}
	r.Project = rig.New(t, yaml.String())
	r.Write("topic.txt", "first")
	r.Up()
	r.joined()
	return r
}

// joined waits until every worker takes part.
func (r *room) joined() {
	r.t.Helper()
	want := r.everybody()
	rig.Until(r.t, 30*time.Second, "every worker takes part", func() bool {
		text, err := r.try("GET", "go#0", "/who")
		var names []string
		return err == nil && json.Unmarshal([]byte(text), &names) == nil && slices.Equal(names, want)
	})
}

// everybody is the names of all workers, sorted.
func (r *room) everybody() (names []string) {
	for _, app := range slices.Sorted(maps.Keys(r.ports)) {
		for slot := range r.workers {
			names = append(names, fmt.Sprintf("%s#%d", app, slot))
		}
	}
	return names
}

// try asks one worker (go#1).
func (r *room) try(method, worker, path string) (string, error) {
	app, slot, _ := strings.Cut(worker, "#")
	n := 0
	_, _ = fmt.Sscan(slot, &n)
	req, err := http.NewRequest(method, fmt.Sprintf("http://127.0.0.1:%d%s", r.ports[app]+n, path), nil)
	if err != nil {
		return "", err
	}
	answer, err := r.client.Do(req)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s%s: %s: %s", method, worker, path, answer.Status, text)
	}
	return strings.TrimSpace(string(text)), err
}

// ask is try that must succeed.
func (r *room) ask(method, worker, path string) string {
	r.t.Helper()
	text, err := r.try(method, worker, path)
	if err != nil {
		r.t.Fatal(err)
	}
	return text
}

// list is a JSON list of texts that a worker answers.
func (r *room) list(worker, path string) (list []string) {
	r.t.Helper()
	if err := json.Unmarshal([]byte(r.ask("GET", worker, path)), &list); err != nil {
		r.t.Fatal(err)
	}
	return list
}

// say has a worker say something to the room.
func say(text string) string { return "/say?text=" + url.QueryEscape(text) }
