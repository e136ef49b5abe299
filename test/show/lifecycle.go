package show

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/test/rig"
)

// Lifecycle starts a program, checks that every worker answers, scales it up and
// down, reloads it to a new release, restarts and stops it.
func Lifecycle(t *testing.T, p Program) string {
	s := deploy(t, p.Name, nil)
	start := time.Now()
	s.Up()
	boot := time.Since(start)
	first := s.mustAnswer(t, "", 2)

	s.Must("scale", p.Name, "3")
	s.Healthy()
	if got := s.PIDs(p.Name); len(got) != 3 {
		t.Fatalf("3 workers wanted, ready are %v", got)
	}
	s.mustAnswer(t, "", 3)
	s.Must("scale", p.Name, "2")
	rig.Until(t, 30*time.Second, "2 workers again", func() bool { return len(s.App(p.Name).Workers) == 2 })

	before := s.PIDs(p.Name)
	release := s.Next(nil)
	start = time.Now()
	s.Must("reload", p.Name)
	reload := time.Since(start)
	rig.Disjoint(t, before, s.PIDs(p.Name))
	if second := s.mustAnswer(t, release, 2); second == first {
		t.Errorf("the reload changed nothing: %q", second)
	}

	before = s.PIDs(p.Name)
	s.Must("restart", p.Name)
	s.Healthy()
	rig.Disjoint(t, before, s.PIDs(p.Name))

	s.Must("stop", p.Name)
	if a := s.App(p.Name); a.Status != event.AppStopped {
		t.Errorf("after stop the app is %s", a.Status)
	}
	s.Must("start", p.Name)
	s.Healthy()
	s.mustAnswer(t, release, 2)
	start = time.Now()
	s.Down()
	return fmt.Sprintf("up %.1fs, reload of 2 %.1fs, down %.1fs", boot.Seconds(), reload.Seconds(), time.Since(start).Seconds())
}

// mustAnswer asks until as many processes as wanted have answered, all of one
// release ("": any), and returns the release.
func (s site) mustAnswer(t *testing.T, release string, processes int) string {
	t.Helper()
	seen, got := map[string]bool{}, ""
	rig.Until(t, 30*time.Second, fmt.Sprintf("answers of %d processes", processes), func() bool {
		bodies := make(chan string, 12)
		for range cap(bodies) { // at once, so that one worker cannot take all
			go func() { bodies <- rig.Ask("http://" + s.addr + "/?ms=40") }()
		}
		for range cap(bodies) {
			body := <-bodies
			var pid string
			if _, err := fmt.Sscanf(body, "hello from release=%s pid=%s", &got, &pid); err != nil {
				t.Fatalf("odd answer %q", body)
			}
			if release != "" && got != release {
				t.Fatalf("release %s answers, %s is wanted", got, release)
			}
			seen[pid] = true
		}
		return len(seen) >= processes || s.addr == ""
	})
	return got
}

// Redis does the same for a program with a port of its own, which says by
// sd_notify that it is ready.
func Redis(t *testing.T) string {
	addr := rig.Addr(t)
	s := deploy(t, "redis", func(yaml string) string {
		return strings.Replace(yaml, "port: 6390", fmt.Sprintf("port: %d", rig.Port(t, addr)), 1)
	})
	port := rig.Port(t, addr)
	pong := func(slot int) bool {
		out, _ := exec.Command("redis-cli", "-p", fmt.Sprint(port+slot), "ping").Output()
		return strings.TrimSpace(string(out)) == "PONG"
	}
	s.Up()
	if !pong(0) {
		t.Fatal("ready, but no PONG")
	}
	s.Must("scale", "redis", "2")
	s.Healthy()
	if !pong(1) {
		t.Error("the second one does not answer at its own port")
	}
	before := s.PIDs("redis")
	s.Must("reload", "redis")
	rig.Disjoint(t, before, s.PIDs("redis"))
	if !pong(0) || !pong(1) {
		t.Error("no PONG after the reload")
	}
	s.Down()
	if pong(0) {
		t.Error("answers after down")
	}
	return "ready by sd_notify, probe by redis-cli, ports by slot"
}
