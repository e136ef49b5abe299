package talk

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/muster-run/muster/test/rig"
)

// odd is an app of programs/odd.js.
type odd struct {
	*rig.Project
	t    *testing.T
	port int
}

// command is what runs it.
func command() string {
	return "node " + filepath.Join(rig.Root(), "test", "show", "talk", "programs", "odd.js")
}

// openOdd runs it; top and app are added to muster.yaml.
func openOdd(t *testing.T, top, app string) *odd {
	t.Helper()
	o := &odd{t: t, port: rig.WidePort(t)}
	o.Project = rig.New(t, fmt.Sprintf("version: 1\n%sapps:\n  odd:\n    command: %q\n    ports: {http: %d}\n    ready: port\n    stop: {timeout: 2s}\n%s", top, command(), o.port, app))
	o.Up()
	return o
}

// get asks the worker; it need not answer.
func (o *odd) get(path string) string {
	return rig.Ask(fmt.Sprintf("http://127.0.0.1:%d%s", o.port, path))
}

func (o *odd) pid() int { return o.PIDs("odd")[0] }

// replaced waits for another process.
func (o *odd) replaced(pid int) {
	o.t.Helper()
	rig.Until(o.t, 30*time.Second, "it is replaced", func() bool { now := o.pid(); return now != 0 && now != pid })
}

// events of a type, as the command line prints them.
func (o *odd) events(kind string) (list []string) {
	o.t.Helper()
	for _, line := range strings.Split(o.Must("events", "-o", "jsonl").Stdout, "\n") {
		if strings.Contains(line, `"type":"`+kind+`"`) {
			list = append(list, line)
		}
	}
	return list
}

// Silence: a worker that blocks is told of, then stopped by its own rules (SIGTERM,
// which it does not hear, and SIGKILL after stop.timeout), and replaced (S0.8).
func Silence(t *testing.T) string {
	o := openOdd(t, "", "    heartbeat: {interval: 1s, kill: 2s}\n")
	pid := o.pid()
	rig.For(2 * time.Second)
	if n := len(o.events("worker.heartbeat")); n != 0 {
		t.Errorf("%d events of a worker that is well", n)
	}
	began := time.Now()
	go o.get("/block") // ends with its process
	o.replaced(pid)
	took := time.Since(began)
	told := o.events("worker.heartbeat")
	if len(told) == 0 || !strings.Contains(told[0], `"ok":false`) {
		t.Errorf("events: %v", told)
	}
	if took < 4*time.Second { // kill and stop.timeout
		t.Errorf("it was replaced after %s: its stop timeout was cut short", took)
	}
	if text := o.Must("events").Stdout; !strings.Contains(text, "E-HEARTBEAT") {
		t.Errorf("no reason in\n%s", text)
	}
	o.Down()
	return fmt.Sprintf("silent for 1 s: told; for 2 s: stopped by its own rules; replaced after %s", took.Round(100*time.Millisecond))
}

// Crashes: the real error of a crash is in the events, in the notification, and in the
// hooks of the worker itself (S1.8, S1.13).
func Crashes(t *testing.T) string {
	notes := make(chan map[string]any, 100)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var note map[string]any
		if json.NewDecoder(r.Body).Decode(&note) == nil {
			notes <- note
		}
	}))
	defer hook.Close()
	o := openOdd(t, "notify: {ops: "+hook.URL+"}\n", "")
	pid := o.pid()
	o.get("/throw")
	o.replaced(pid)
	var seen []string
	for range 3 {
		select {
		case n := <-notes:
			seen = append(seen, fmt.Sprint(n["event"]))
			if n["event"] == "crash" && (n["error"] != "the sky fell" || !strings.Contains(fmt.Sprint(n["stack"]), "odd.js") || n["code"] != 1.0) {
				t.Errorf("the note is %v", n)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("only %v was told", seen)
		}
	}
	if fmt.Sprint(seen) != "[started crash recovered]" {
		t.Errorf("told: %v", seen)
	}
	if list := o.events("worker.crash"); len(list) != 1 || !strings.Contains(list[0], "the sky fell") {
		t.Errorf("events: %v", list)
	}
	logged := false
	for _, r := range o.Records("odd") {
		logged = logged || r.Line == "stopping: the sky fell"
	}
	if !logged {
		t.Error("its onStop hook did not run")
	}
	if r := o.Must("notify", "test", "ops"); !strings.Contains(r.Stdout, "delivered") {
		t.Error(r)
	}
	hook.Close()
	if r := o.Run("notify", "test", "ops"); r.Code != 1 || !strings.Contains(r.Stderr, "E-NOTIFY") {
		t.Error(r)
	}
	o.Down()
	return "started, crash with the real error and stack, recovered: told, and each result is an event"
}

// Orders: what an operator, and the worker itself, may order about it (S1.2, S1.9–11,
// S1.15, S0.12).
func Orders(t *testing.T) string {
	listen := rig.Addr(t)
	listen = "127.0.0.1:" + strconv.Itoa(rig.Port(t, listen))
	o := openOdd(t, "control: {listen: \""+listen+"\"}\n", "")
	o.get("/life")
	rig.Until(t, 10*time.Second, "its lifecycle line is told", func() bool {
		return strings.Contains(strings.Join(o.events("worker.lifecycle"), ""), "warming the cache")
	})
	o.console()
	o.setPort()
	o.byKey(listen)
	return "lifecycle line; console with the worker's own command, and a console inside it; a port moved under way; stop by the session key only"
}

// console runs commands, those of the worker too, and one inside of it.
func (o *odd) console() {
	o.t.Helper()
	for line, want := range map[string]string{
		"greet you 2": "hello you hello you", "status": "Healthy",
	} {
		cmd := o.Cmd("console")
		cmd.Stdin = strings.NewReader(line + "\n")
		if r := o.Finish(cmd); r.Code != 0 || !strings.Contains(r.Stdout, want) {
			o.t.Errorf("%s: %v", line, r)
		}
	}
	cmd := o.Cmd("console")
	cmd.Stdin = strings.NewReader("greet you 12x\n")
	if r := o.Finish(cmd); r.Code != 2 || !strings.Contains(r.Stderr, "12x") {
		o.t.Errorf("12x: %v", r)
	}
	cmd = o.Cmd("console", "odd#0")
	cmd.Stdin = strings.NewReader("process.pid\n")
	if r := o.Finish(cmd); r.Code != 0 || !strings.Contains(r.Stdout, strconv.Itoa(o.pid())) {
		o.t.Errorf("inside: %v", r)
	}
}

// setPort moves it to another port by a reload.
func (o *odd) setPort() {
	o.t.Helper()
	if r := o.Run("set", "port", "odd", "nosuch", "2000"); r.Code == 0 || !strings.Contains(r.Stderr, "http") {
		o.t.Errorf("an unknown port: %v", r)
	}
	old := o.port
	o.port = rig.WidePort(o.t)
	o.Must("set", "port", "odd", "http", strconv.Itoa(o.port), "--now")
	if got := o.get("/pid"); got != strconv.Itoa(o.pid()) {
		o.t.Errorf("the new port answers %q", got)
	}
	if got := rig.Ask(fmt.Sprintf("http://127.0.0.1:%d/pid", old)); got == strconv.Itoa(o.pid()) {
		o.t.Error("it still answers on the old port") // somebody else may have that by now
	}
}

// byKey ends everything, with the session's key only.
func (o *odd) byKey(listen string) {
	o.t.Helper()
	key := strings.TrimSpace(o.Must("session-key", "-q").Stdout)
	post := func(key, origin string) int {
		req, _ := http.NewRequest("POST", "http://"+listen+"/v1/shutdown", strings.NewReader(`{"exit_code": 3}`))
		req.Header.Set("Authorization", "Bearer "+key)
		req.Header.Set("Content-Type", "application/json")
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		answer, err := http.DefaultClient.Do(req)
		if err != nil {
			o.t.Error(err)
			return 0
		}
		answer.Body.Close()
		return answer.StatusCode
	}
	wrong := "0" + key[1:]
	if wrong == key {
		wrong = "1" + key[1:]
	}
	if got := post(wrong, ""); got != http.StatusUnauthorized {
		o.t.Error("a wrong key:", got)
	}
	if got := post(key, "http://evil.example"); got != http.StatusForbidden {
		o.t.Error("from a web page:", got)
	}
	for _, path := range []string{o.State, o.Runtime} { // the key is in no file
		if holds(path, key) {
			o.t.Errorf("the key is in a file below %s", path)
		}
	}
	if strings.Contains(o.Must("events", "-o", "jsonl").Stdout+o.Must("status", "-o", "json").Stdout, key) {
		o.t.Error("the key is told")
	}
	if got := post(key, ""); got != http.StatusOK {
		o.t.Error("the key:", got)
	}
	o.NothingLeft()
}

// holds says whether a text is in a file below a directory.
func holds(dir, text string) (found bool) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			content, _ := os.ReadFile(path)
			found = found || strings.Contains(string(content), text)
		}
		return nil
	})
	return found
}

// KilledFromInside: a worker ends its app, and muster ends with the code it gave.
func KilledFromInside(t *testing.T) string {
	p := rig.New(t, "")
	port := rig.WidePort(t)
	cmd := p.Cmd("run", "--env", "PORT="+strconv.Itoa(port), "--", "node", filepath.Join(rig.Root(), "test", "show", "talk", "programs", "odd.js"))
	end := p.Begin(cmd)
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	rig.Until(t, 20*time.Second, "it serves", func() bool { _, err := strconv.Atoi(rig.Ask(url + "/pid")); return err == nil })
	rig.Ask(url + "/kill")
	r := end()
	if r.Code != 7 || !strings.Contains(r.Stderr+r.Stdout, "had enough") {
		t.Errorf("it ended with %v", r)
	}
	p.NothingLeft()
	return "muster ended with the worker's code, 7, after everything had stopped; the reason is told"
}
