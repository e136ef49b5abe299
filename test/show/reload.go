package show

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-run/muster/test/load"
	"github.com/muster-run/muster/test/rig"
)

// clients of each kind in a load.
const clients = 16

// ReloadUnderLoad reloads a program several times in a row under load. The
// requests that it promises not to lose must not be lost, and after each reload
// every pid and the release must have changed.
func ReloadUnderLoad(t *testing.T, p Program, times int) string {
	s := deploy(t, p.Name, workers("3"))
	s.Up()
	kept := clients
	if !p.Kept {
		kept = 0
	}
	run := load.Start(load.Options{Addr: s.addr, Fresh: clients, Kept: kept})
	defer run.Stop()
	var longest time.Duration
	for i := range times {
		run.Mark()
		rig.Until(t, 30*time.Second, "an answer of each worker", func() bool { return len(run.Report().PIDs()) >= 3 })
		old := run.Report()
		before := s.PIDs(p.Name)
		release := s.Next(nil)
		s.Must("reload", p.Name)
		longest = max(longest, run.Report().Longest)
		rig.Disjoint(t, before, s.PIDs(p.Name))
		run.Mark()
		rig.Until(t, 30*time.Second, "an answer of each new worker", func() bool { return len(run.Report().PIDs()) >= 3 })
		now := run.Report()
		if got := now.Releases(); !slices.Equal(got, []string{release}) {
			t.Errorf("reload %d: releases %v answer, %s is wanted", i+1, got, release)
		}
		for _, pid := range now.PIDs() {
			if slices.Contains(old.PIDs(), pid) {
				t.Errorf("reload %d: pid %d answers still", i+1, pid)
			}
		}
	}
	end := run.Stop()
	if end.Fresh.Total() > 0 && p.Fresh || end.Kept.Total() > 0 && p.Kept {
		t.Errorf("requests were lost: %v", end)
	}
	s.Down()
	return fmt.Sprintf("%d reloads; new connections: %v; keep-alive: %v; longest %v", times, end.Fresh, end.Kept, longest.Round(time.Millisecond))
}

// KeptAliveBesideHUP counts what gunicorn's keep-alive clients lose in reloads
// by muster, and in as many HUPs of a gunicorn of its own beside it. flags choose
// its kind of worker; the default one closes every connection after its answer.
func KeptAliveBesideHUP(t *testing.T, times int, flags string) string {
	threads := strings.Join(strings.Fields("gunicorn --workers %s "+flags+" app:app"), " ")
	s := deploy(t, "gunicorn", func(yaml string) string {
		yaml = strings.Replace(yaml, "gunicorn --workers 1 app:app", fmt.Sprintf(threads, "1"), 1)
		// surge: auto does as HUP does: all new ones, then all old ones leave.
		return workers("3")(yaml)
	})
	s.Up()
	run := load.Start(load.Options{Addr: s.addr, Fresh: clients, Kept: clients})
	defer run.Stop()
	for range times {
		run.Mark()
		rig.Until(t, 30*time.Second, "answers of 3 workers", func() bool { return len(run.Report().PIDs()) >= 3 })
		s.Next(nil)
		s.Must("reload", "gunicorn")
	}
	ours := run.Stop()
	s.Down()
	theirs := gunicornHUP(t, fmt.Sprintf(threads, "3"), times)
	if ours.Fresh.Total() > 0 {
		t.Errorf("new connections were lost: %v", ours)
	}
	if ours.Kept.Total() > theirs.Kept.Total() {
		t.Errorf("muster lost more than HUP: %v, HUP: %v", ours.Kept, theirs.Kept)
	}
	return fmt.Sprintf("%d reloads; keep-alive lost: %d by muster, %d by HUP; new connections lost: %d by muster, %d by HUP", times,
		ours.Kept.Total(), theirs.Kept.Total(), ours.Fresh.Total(), theirs.Fresh.Total())
}

// gunicornHUP is gunicorn by itself, reloaded the way its documentation says.
func gunicornHUP(t *testing.T, command string, times int) load.Report {
	addr := rig.Addr(t)
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(rig.Root(), "examples", "gunicorn"))); err != nil {
		t.Fatal(err)
	}
	g := startAlone(t, dir, append(strings.Fields(command), "--bind", addr)...)
	rig.Until(t, 30*time.Second, "gunicorn answers", func() bool { return strings.Contains(rig.Ask("http://"+addr+"/"), "release=") })
	run := load.Start(load.Options{Addr: addr, Fresh: clients, Kept: clients})
	defer run.Stop()
	for range times {
		run.Mark()
		rig.Until(t, 30*time.Second, "answers of 3 workers", func() bool { return len(run.Report().PIDs()) >= 3 })
		old := run.Report().PIDs()
		g.hup(t)
		rig.Until(t, 60*time.Second, "the old workers are gone", func() bool {
			return !slices.ContainsFunc(old, rig.Alive)
		})
	}
	return run.Stop()
}

// SlowBoot reloads a program that needs 4 s until it serves: no answer may take
// long meanwhile.
func SlowBoot(t *testing.T, limit time.Duration) string {
	s := deploy(t, "hello", workers("2"))
	s.Up()
	run := load.Start(load.Options{Addr: s.addr, Fresh: clients, Kept: clients})
	defer run.Stop()
	s.Next(map[string]string{"BOOT": "4s"})
	run.Mark()
	start := time.Now()
	s.Must("reload", "hello")
	took := time.Since(start)
	end := run.Stop()
	if end.Lost() > 0 || end.Longest > limit {
		t.Errorf("want 0 lost and no answer over %v: %v", limit, end)
	}
	if took < 8*time.Second {
		t.Errorf("two workers with a boot of 4 s each cannot be ready after %v", took)
	}
	s.Down()
	return fmt.Sprintf("reload took %.1fs, %d answers, %d lost, longest %v", took.Seconds(), end.Answers(), end.Lost(), end.Longest.Round(time.Millisecond))
}

// failingRelease says how a release of a program fails at start, and what it
// prints then.
func failingRelease(name string) (change map[string]string, printed string) {
	switch name {
	case "gunicorn", "uvicorn":
		return map[string]string{"app.py": "def app(:\n"}, "SyntaxError"
	case "puma":
		return map[string]string{"config.ru": "raise 'no database'\n"}, "no database"
	case "unicorn": // tries again until it is not ready in time; the text is above its 20 last lines
		return map[string]string{"config.ru": "raise 'no database'\n"}, "config.ru:1"
	case "node":
		return map[string]string{"server.js": "throw new Error('no database')\n"}, "no database"
	case "lighttpd":
		return map[string]string{"lighttpd.conf": "server.port = = 1\n"}, "configfile.c"
	case "haproxy":
		return map[string]string{"haproxy.cfg": "frontend web\n  no such word\n"}, "haproxy.cfg"
	}
	return map[string]string{"FAIL": "no database"}, "no database"
}

// FailingRelease reloads to a release that fails at start, in every slot or only
// in the second one: nothing is lost, every old worker stays, the exit code is
// 1 and the program's own words are shown; then a good reload works.
func FailingRelease(t *testing.T, p Program, onlySecondSlot bool) string {
	s := deploy(t, p.Name, workers("3"))
	s.Up()
	kept := clients
	if !p.Kept {
		kept = 0
	}
	run := load.Start(load.Options{Addr: s.addr, Fresh: clients, Kept: kept})
	defer run.Stop()
	before := s.PIDs(p.Name)
	change, printed := failingRelease(p.Name)
	if onlySecondSlot {
		change["FAIL_SLOT"] = "1"
	}
	bad := s.Next(change)
	r := s.Run("reload", p.Name)
	if r.Code != 1 || !strings.Contains(r.Stdout+r.Stderr, printed) {
		t.Errorf("want exit code 1 and %q shown: %v", printed, r)
	}
	after := s.PIDs(p.Name)
	if onlySecondSlot {
		survivors(t, before, after)
	} else if fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("the old workers were %v, now there are %v", before, after)
	}
	run.Mark()
	rig.Until(t, 30*time.Second, "answers of 3 workers", func() bool { return len(run.Report().PIDs()) >= 3 })
	if slices.Contains(run.Report().Releases(), bad) {
		t.Errorf("the bad release answers")
	}
	good := s.Next(nil)
	s.Must("reload", p.Name)
	end := run.Stop()
	if end.Fresh.Total() > 0 && p.Fresh || end.Kept.Total() > 0 && p.Kept {
		t.Errorf("requests were lost: %v", end)
	}
	s.mustAnswer(t, good, 3)
	s.Down()
	return fmt.Sprintf("exit code %d after %.1fs, %d lost of %d, then a good reload", r.Code, r.Took.Seconds(), end.Lost(), end.Answers())
}

// survivors: a slot that had been replaced before the failure may have a third
// pid (its old release again), but every slot must serve.
func survivors(t *testing.T, before, after map[int]int) {
	t.Helper()
	if len(after) != len(before) {
		t.Errorf("ready were %v, now %v", before, after)
	}
	for slot, pid := range before {
		if slot != 0 && after[slot] != pid {
			t.Errorf("worker #%d was pid %d and is %d", slot, pid, after[slot])
		}
	}
}
