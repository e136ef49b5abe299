package record

import (
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/spec"
)

var write = flag.Bool("write", false, "write the golden record of a new version")

// golden is a pool's record in which every field of every type is set.
func golden() Pool {
	at := time.Date(2026, 11, 22, 8, 0, 0, 5e8, time.UTC)
	f := &fault.Fault{Code: fault.Exited, Text: "ended", Where: "web#1", Output: []string{"boom"}, Fix: "look"}
	l := Listener{Spec: spec.Listener{Name: "http", Network: "tcp", Address: ":8000"}, Inode: 7, Addr: "[::]:8000", Fresh: true}
	return Pool{
		Version: 1, Declared: 3, Workers: 2, Wanted: true, Number: 4, Made: 2, Keys: 5, Serving: 1,
		Generations: []Generation{{Number: 1, Release: 1, Listeners: []Listener{l}}},
		History:     []int{1, 2}, Stale: []Listener{l}, State: event.Reloading,
		Rollout: &Rollout{
			Kind: "reload", Want: 2, Only: []int{1}, Batch: 1, Surge: 1, Number: 4, From: 1, Bad: 3,
			Done: 1, Total: 2, Phase: event.ReloadRunning, Fault: f, Failing: f,
		},
		Starts: []Start{{Slots: []int{1}, Why: "order"}}, Warnings: []Warning{{At: at, Fault: *f}}, StartFault: f,
		Slots: []Slot{{
			Slot: 1, Restarts: 3, LastRestart: at, LastFault: f, StartedOnce: true, Ended: true, Held: true,
			LastExit: &api.Exit{PID: 4, Code: 3, Signal: "SIGTERM", Time: at, Uptime: time.Second, Planned: true, Lines: []string{"a"}},
		}},
		Occupants: []Worker{{
			Slot: 1, Role: Candidate, Generation: 1, State: event.Ready, Why: "w", Goal: Again, Trial: true, Fault: f,
			Tries: &Tries{Count: 2, Row: 1, Runs: []Duration{time.Second}}, Next: at, Delay: time.Minute,
			Health: "failing", HealthText: "500", StatusText: "here", Planned: true, EndFault: f,
			Process: Process{
				ID: "web.1.x-1", Launched: at, Started: at, Ready: at, ReadyIn: time.Minute, Needs: "notify,port",
				LineSeen: true, Stopping: true, Asked: true, Killed: true, Exited: true, Deadline: at,
				Span: time.Minute, Watchdog: time.Second, Passed: true, Failures: 2, Beats: true, Crash: &event.WorkerCrash{Error: "e", Stack: "s", Type: "T"},
				Number: 3, Node: &Node{Online: true, Servers: map[string]bool{"k": true}, Asked: true, Left: true, Gone: true},
				Forks: &Forks{Last: 2, List: []Fork{{Process: Process{ID: "f", Number: 2, Node: &Node{Servers: map[string]bool{"k": true, "l": false}}}, Silent: true}}},
			},
		}},
		Started: 3,
		Asked: []Asked{{
			Key: "k", Listener: Listener{Spec: spec.Listener{Network: "tcp", Address: ":80"}, Inode: 9, Addr: "[::]:80", Balance: spec.BalanceSlots, Slots: 2},
			Index: 1, Data: []byte("t"),
		}},
	}
}

// A record of version 1 stays readable: what it says must never mean another thing.
func TestGoldenRecord(t *testing.T) {
	const path = "testdata/pool.v1.json"
	if *write {
		text, _ := json.MarshalIndent(golden(), "", " ")
		if err := os.WriteFile(path, append(text, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got Pool
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(golden(), got); diff != "" {
		t.Error(diff)
	}
	for _, v := range []any{golden(), *golden().Rollout, golden().Slots[0], golden().Occupants[0], golden().Occupants[0].Process} {
		for i := range reflect.TypeOf(v).NumField() {
			if reflect.ValueOf(v).Field(i).IsZero() {
				t.Errorf("the golden record does not set %T.%s", v, reflect.TypeOf(v).Field(i).Name)
			}
		}
	}
}

func records(t *testing.T) process.Records {
	t.Helper()
	store := process.NewDirectStore()
	t.Cleanup(func() { store.Close() })
	return process.Records{Store: store}
}

// What a newer release has added is passed over.
func TestUnknownFields(t *testing.T) {
	r := records(t)
	text, _ := json.Marshal(golden())
	newer := strings.Replace(string(text), `{"version":1,`, `{"version":2,"tomorrow":{"a":[1]},`, 1)
	newer = strings.Replace(newer, `"role":"candidate"`, `"role":"candidate","tomorrow":true`, 1)
	if err := r.Save(PoolName("web"), []byte(newer)); err != nil {
		t.Fatal(err)
	}
	got, found, err := Load[Pool](r, PoolName("web"))
	want := golden()
	want.Version = 2
	if diff := cmp.Diff(want, got); diff != "" || !found || err != nil {
		t.Error(diff, found, err)
	}
}

func TestLoadAndForget(t *testing.T) {
	r := records(t)
	if _, found, err := Load[Pool](r, PoolName("web")); found || err != nil {
		t.Errorf("%v %v", found, err)
	}
	for _, app := range []string{"web", "api"} {
		if err := Save(r, PoolName(app), golden()); err != nil {
			t.Fatal(err)
		}
		if err := Save(r, ReleasesName(app), Releases{}); err != nil {
			t.Fatal(err)
		}
	}
	if apps := Apps(r); !slices.Equal(apps, []string{"api", "web"}) {
		t.Errorf("%q", apps)
	}
	if err := Forget(r, "web"); err != nil || len(r.Store.List()) != 2 {
		t.Errorf("%v, left %q", err, r.Store.List())
	}
	if err := r.Save(PoolName("bad"), []byte("{")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Load[Pool](r, PoolName("bad")); err == nil {
		t.Error("a damaged record was read")
	}
}

// An environment need not be UTF-8, and none is not one empty variable.
func TestEnviron(t *testing.T) {
	for _, want := range [][]string{nil, {"A=1"}, {"A=\xff\xfe", "B=\n", "C="}} {
		text, _ := json.Marshal(Release{Environ: JoinEnviron(want)})
		var back Release
		if err := json.Unmarshal(text, &back); err != nil || !slices.Equal(SplitEnviron(back.Environ), want) {
			t.Errorf("%q became %q, %v", want, SplitEnviron(back.Environ), err)
		}
	}
}

// The text of a page is that of the whole record, and comes only when something
// has changed.
func TestPage(t *testing.T) {
	want := golden()
	head := want
	head.Slots, head.Occupants = nil, nil
	var p Page
	var slot Cached[Slot]
	var one, two Cached[Worker]
	page := func(workers ...Worker) []byte {
		if err := p.Begin(head); err != nil {
			t.Fatal(err)
		}
		p.Slot(&slot, want.Slots[0])
		for i, w := range workers {
			p.Worker([]*Cached[Worker]{&one, &two}[i], w)
		}
		return p.End()
	}
	w := want.Occupants[0]
	var got Pool
	if err := json.Unmarshal(page(w), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if text := page(w); text != nil {
		t.Errorf("nothing has changed: %s", text)
	}
	p.Unsaved()
	if page(w) == nil {
		t.Error("what could not be kept is not tried again")
	}
	other := w
	other.Why = "another"
	for i, workers := range [][]Worker{{other}, {other, w}, {other}, {}} {
		if page(workers...) == nil || page(workers...) != nil {
			t.Errorf("change %d: not told once", i)
		}
	}
	head.Workers++
	if page() == nil {
		t.Error("the head has changed")
	}
}

// A clock that was set neither prolongs a deadline nor makes it negative.
func TestLeft(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		deadline time.Time
		least    time.Duration
		most     time.Duration
	}{
		{now.Add(10 * time.Second), 9 * time.Second, 10 * time.Second},
		{now.Add(time.Hour), 30 * time.Second, 30 * time.Second},
		{now.Add(-time.Hour), 0, 0},
		{time.Time{}, 0, 0},
	} {
		if got := Left(tt.deadline, 30*time.Second); got < tt.least || got > tt.most {
			t.Errorf("%s: %s", tt.deadline, got)
		}
	}
}

func TestWarn(t *testing.T) {
	var list []Warning
	for i := range 8 {
		list = Warn(list, fault.New(fault.Exited, "end %d", i))
	}
	list = Warn(list, fault.New(fault.Exited, "end 5"))
	if len(list) != 5 || list[4].Fault.Text != "end 5" || list[0].Fault.Text != "end 3" {
		t.Errorf("%+v", list)
	}
}

// The end of something takes only the warnings of it away.
func TestOver(t *testing.T) {
	at := func(code fault.Code, where string) *fault.Fault { return fault.New(code, "text").At(where) }
	var list []Warning
	for _, f := range []*fault.Fault{at(fault.Blocked, "web#0"), at(fault.Blocked, "web#1"), at(fault.Exited, "web#0")} {
		list = Warn(list, f)
	}
	over := Over(list, fault.New(fault.Blocked, "it takes connections again").At("web#0"))
	if len(list) != 3 || len(over) != 2 || over[0].Fault.Where != "web#1" || over[1].Fault.Code != fault.Exited {
		t.Errorf("%+v of %+v", over, list)
	}
}

func TestLogIntent(t *testing.T) {
	r := records(t)
	f, err := LogIntent(r.Store, "web")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("note"); err != nil {
		t.Fatal(err)
	}
	again, err := LogIntent(r.Store, "web")
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	text := make([]byte, 4)
	if _, err := again.ReadAt(text, 0); err != nil || string(text) != "note" {
		t.Errorf("%q, %v", text, err)
	}
	DropLogIntents(r.Store, func(app string) bool { return app == "other" })
	if len(r.Store.List()) != 1 {
		t.Error("dropped another one's")
	}
	if DropLogIntents(r.Store, func(string) bool { return true }); len(r.Store.List()) != 0 {
		t.Error("left")
	}
}

// A successor finds the forks of programs beside the workers, and where they listen.
func TestForks(t *testing.T) {
	p := golden()
	if named := p.Named(); !slices.Equal(named, []string{p.Occupants[0].Process.ID, "f"}) {
		t.Errorf("%q", named)
	}
	forks := p.Occupants[0].Process.Forks
	forks.List = append(forks.List, Fork{})
	if keys := forks.Servers(); !slices.Equal(keys, []string{"k"}) {
		t.Errorf("%q", keys)
	}
}
