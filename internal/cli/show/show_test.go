package show

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 400 * time.Millisecond: "0.4s", 2 * time.Second: "2s", 59 * time.Second: "59s",
		90 * time.Second: "90s", 3 * time.Minute: "3m", 130 * time.Minute: "2h10m", 2 * time.Hour: "2h",
		30 * time.Hour: "30h", 100 * time.Hour: "4d",
	} {
		if got := Age(d); got != want {
			t.Errorf("age(%s) = %s, want %s", d, got, want)
		}
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 1023: "1023B", 1024: "1.0K", 27 << 20: "27M", 1500 << 20: "1.5G", 3 << 40: "3.0T", 1023 << 10: "1.0M"} {
		if got := Size(n); got != want {
			t.Errorf("size(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestTableDropsColumns(t *testing.T) {
	table := Table{Columns: []Column{{"APP", 0}, {"LOW", 1}, {"HIGH", 2}, {"EMPTY", 9}}}
	table.Add("web", "11", "22", "")
	table.Add("日本", "1", "2", "")
	for width, want := range map[int]string{
		0:  "APP   LOW  HIGH\nweb   11   22\n日本  1    2\n",
		15: "APP   LOW  HIGH\nweb   11   22\n日本  1    2\n",
		14: "APP   HIGH\nweb   22\n日本  2\n",
		3:  "APP\nweb\n日本\n",
	} {
		var out bytes.Buffer
		table.Write(&Printer{w: &out, width: width})
		if out.String() != want {
			t.Errorf("width %d:\n%swant\n%s", width, out.String(), want)
		}
	}
}

func TestPrinterColoursOnlyATerminal(t *testing.T) {
	p := NewPrinter(&bytes.Buffer{}, nil, false)
	if p.colour || p.TTY || p.width != 0 || p.Paint(Red, "x") != "x" {
		t.Errorf("%+v", p)
	}
	if got := (&Printer{colour: true}).Paint(Red, "x"); got != "\x1b[31mx\x1b[0m" {
		t.Errorf("%q", got)
	}
}

func TestYAML(t *testing.T) {
	v := map[string]any{
		"a": []any{map[string]any{"x": 1, "xy": []string{"p q", "true"}}, "z", []any{}},
		"b": map[string]any{}, "c": nil, "d": "1.5", "e": 2.5, "f": "multi\nline",
	}
	got, err := YAML(v)
	want := `a:
  - x: 1
    xy:
      - "p q"
      - "true"
  - z
  - []
b: {}
c: null
d: "1.5"
e: 2.5
f: "multi\nline"
`
	if diff := cmp.Diff(want, string(got)); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestLifecycleLines(t *testing.T) { // S1.6, S1.15
	at := time.Date(2026, 11, 22, 12, 0, 1, 0, time.UTC)
	n := NewNarrator()
	next := at.Add(1600 * time.Millisecond)
	say := func(d event.Data, pid int, after time.Duration) string {
		text, _ := n.Line(event.Event{Time: at.Add(after), App: "web", Slot: 0, PID: pid, Generation: 1, Data: d})
		return text
	}
	for _, c := range []struct{ got, want string }{
		{say(event.WorkerState{To: event.Starting}, 0, 0), "web#0 starting"},
		{say(event.WorkerState{To: event.Ready}, 7, 400*time.Millisecond), "web#0 ready (pid 7, 0.4s)"},
		{say(event.WorkerExit{Code: 1, Uptime: 3 * time.Second}, 7, 0), "web#0 exited with code 1 (pid 7, after 3s)"},
		{say(event.WorkerExit{Code: -1, Signal: "SIGSEGV", Core: true}, 7, 0), "web#0 was ended by SIGSEGV (pid 7, after 0s, core dumped)"},
		{say(event.WorkerExit{Planned: true}, 7, 0), ""},
		{say(event.WorkerState{To: event.Backoff, Next: &next, Why: "exit code 1"}, 7, 0), "web#0 backoff, next start in 1.6s: exit code 1"},
		{say(event.WorkerState{To: event.Failed, Why: "given up"}, 0, 0), "web#0 failed: given up"},
		{say(event.WorkerHealth{Failures: 2, Text: "status 500"}, 7, 0), "web#0 health check failed (2 in a row): status 500"},
		{say(event.WorkerStatus{Text: "warm"}, 7, 0), "web#0 says: warm"},
		{say(event.WorkerLifecycle{Text: "index is warm"}, 7, 0), "web#0: index is warm"},
		{
			say(event.WorkerCrash{Type: "TypeError", Error: "x is\nnot", Stack: "at a\nat b" + strings.Repeat("\nat c", 20)}, 7, 0),
			"web#0 reports a crash: TypeError: x is not\n  | at a\n  | at b" + strings.Repeat("\n  | at c", 8),
		},
		{say(event.WorkerHeartbeat{Age: 2 * time.Second}, 7, 0), "web#0 has given no sign of life for 2s (pid 7)"},
		{say(event.WorkerHeartbeat{Age: 5 * time.Second, Killed: true}, 7, 0), ""},
		{say(event.WorkerHeartbeat{OK: true, Age: 3 * time.Second}, 7, 0), "web#0 gives signs of life again, after 3s"},
		{say(event.Notified{Notifier: "ops", Occasion: "crash", Held: 2}, 0, 0), "ops was told: crash of web; 2 before were held back"},
		{
			say(event.Notified{Notifier: "ops", Occasion: "crash", Fault: fault.New(fault.NotifyFailed, "refused").At("notify.ops").WithFix("")}, 0, 0),
			"warning: notify.ops: refused (E-NOTIFY)",
		},
		{say(event.WorkerNode{ID: 3, State: "online"}, 7, 0), "web#0 online (Node.js worker 3)"},
		{say(event.WorkerNode{ID: 3, State: "listening", Port: 80, AddressType: "4"}, 7, 0), "web#0 listens on :80 (Node.js worker 3)"},
		{say(event.WorkerNode{ID: 3, State: "listening", Address: "::1", Port: 53, AddressType: "udp6"}, 7, 0), "web#0 listens on [::1]:53/udp (Node.js worker 3)"},
		{say(event.WorkerNode{ID: 3, State: "listening", Address: "/run/x", Port: -1, AddressType: "-1"}, 7, 0), "web#0 listens on /run/x (Node.js worker 3)"},
		{say(event.WorkerNode{ID: 3, State: "disconnected"}, 7, 0), "web#0 disconnected (Node.js worker 3)"},
		{say(event.WorkerNode{ID: 3, State: "disconnected", ExitedAfterDisconnect: true}, 7, 0), "web#0 disconnected (Node.js worker 3, as asked for)"},
		{say(event.WorkerMessage{Message: []byte("{\"a\":\"\u009b2J\"}")}, 7, 0), `web#0 sent: {"a":" 2J"}`},
		{
			say(event.WorkerMessage{Message: []byte("[" + strings.Repeat("1,", 200) + "1]"), Size: 403, Descriptors: 1, Missed: 2}, 7, 0),
			"web#0 sent: [" + strings.Repeat("1,", 99) + "1… (403 bytes) with 1 descriptor (2 messages before it not told)",
		},
		{say(event.Warning{Fault: *fault.New(fault.LogWrite, "full").WithFix("free")}, 0, 0), "warning: web#0: full (E-LOG-WRITE)\n  fix: free"},
		{say(event.Warning{Fault: *fault.New(fault.Blocked, "it takes connections again").WithFix(""), Over: true}, 0, 0), "web#0: it takes connections again"},
		{say(event.WorkerState{To: event.Failed, Why: "full"}, 0, 0), "web#0 failed"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

func TestReloadLines(t *testing.T) {
	n := NewNarrator()
	for phase, want := range map[event.ReloadPhase]string{
		event.ReloadQueued: "web reload waits for the one that runs", event.ReloadRunning: "reloading web 1/4",
		event.ReloadReverting: "web reload is undone, the old release serves on", event.ReloadDone: "web reloaded, 4 workers, release r2",
		event.ReloadBuilding: "preparing release r2 of web", event.ReloadAborted: "web reload aborted: stopped (E-RELOAD-ABORTED)\n  fix: again",
	} {
		d := event.Reload{Phase: phase, Done: 1, Total: 4, Release: "r2"}
		if phase == event.ReloadAborted {
			d.Fault = fault.New(fault.ReloadAborted, "stopped").WithFix("again")
		}
		if got, _ := n.Line(event.Event{App: "web", Slot: event.NoSlot, Data: d}); got != want {
			t.Errorf("%s: %q, want %q", phase, got, want)
		}
	}
}

func TestStatusSaysWhy(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	before := func(d time.Duration) *time.Time { at := now.Add(-d); return &at }
	apps := []api.App{
		{Name: "web", Type: spec.Service, Status: event.Degraded, Wanted: 2, Ready: 1, Listen: []string{"tcp://0.0.0.0:80"}, Workers: []api.Worker{
			{App: "web", Slot: 0, PID: 7, State: event.Ready, StartedAt: before(3 * time.Minute), Health: "failing", HealthText: "status 500", CPU: 1.25, Memory: 5 << 20},
			{App: "web", Slot: 1, State: event.Backoff, Why: "exit code 1", Restarts: 5, LastRestart: before(2 * time.Minute), Next: before(-3 * time.Second), LastExit: &api.Exit{
				PID: 6, Code: 1, Uptime: 200 * time.Millisecond, Time: now.Add(-2 * time.Second), Lines: []string{"a", "b", "c", "d"},
			}},
		}},
		{Name: "task", Type: spec.Task, Status: event.AppStopped, Why: "completed", Workers: []api.Worker{{App: "task", State: event.Stopped, LastExit: &api.Exit{}}}},
	}
	var out bytes.Buffer
	v := Status{Printer: &Printer{w: &out}, Now: now}
	v.Apps(apps)
	v.Reasons(apps)
	want := `APP   STATUS     WORKERS  HEALTH   CPU   MEM   RESTARTS    UPTIME  PORTS
web   Degraded   1/2      failing  1.2%  5.0M  5 (2m ago)  3m      :80
task  Completed  task                          0

web#0 health check fails: status 500
web#1 backoff: exit code 1 (pid 6 exited with code 1 after 0.2s, 2s ago), next try in 3s
  | b
  | c
  | d
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("%s\n%s", out.String(), diff)
	}
}

func TestPortsAreShort(t *testing.T) {
	a := api.App{Listen: []string{"tcp://0.0.0.0:80", "tcp://[::]:80"}}
	for slot := range 200 {
		a.Workers = append(a.Workers, api.Worker{Slot: slot, Ports: map[string]int{"http": 8000 + slot, "admin": 9000, "odd": 9002 + 2*min(slot, 1)}})
	}
	if got, want := strings.Join(ports(a), " "), ":80 :8000-8199 :9000 :9002 :9004"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// What Node.js workers listen on is shown once, and what is declared not again.
func TestPortsOfNodeWorkers(t *testing.T) {
	a := api.App{Listen: []string{"tcp://0.0.0.0:80"}}
	for slot := range 2 {
		a.Workers = append(a.Workers, api.Worker{Slot: slot, Node: &api.NodeWorker{
			Listening: []string{"tcp://0.0.0.0:80 (slots)", "tcp://:8000 (slots)", "udp://:53 (shared)", "unix:///run/a (round-robin)"},
		}})
	}
	if got, want := strings.Join(ports(a), " "), ":80 :8000 udp://:53 /run/a"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// After an order the table has what cannot take effect below it, and nothing else.
func TestApplied(t *testing.T) {
	kept := fault.New(fault.BalanceKept, "it stays with balance slots").At("web, tcp://:80").WithFix("stop it")
	other := fault.New(fault.Bind, "old news")
	out := &bytes.Buffer{}
	Status{Printer: &Printer{w: out}}.Applied([]api.App{{Name: "web", Warnings: []fault.Fault{*other, *kept}}})
	_, rest, _ := strings.Cut(out.String(), "\nweb")
	if _, rest, _ = strings.Cut(rest, "\n"); rest != "warning: web, tcp://:80: it stays with balance slots (E-BALANCE)\n  fix: stop it\n" {
		t.Errorf("%s", out)
	}
}

func TestChanges(t *testing.T) {
	out := &bytes.Buffer{}
	Changes(&Printer{w: out}, []spec.Change{
		{App: "new", Action: spec.AddApp},
		{App: "web", Action: spec.ReloadApp, Field: "env.A", New: "1"},
		{App: "web", Action: spec.ReloadApp, Field: "env.B", Old: "1", New: "2"},
		{App: "old", Action: spec.RemoveApp},
	})
	want := "+ new\n~ web (its workers are replaced, rolling)\n    env.A: 1\n    env.B: 1 -> 2\n- old\n"
	if out.String() != want {
		t.Errorf("%s", out)
	}
}
