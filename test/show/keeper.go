package show

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/test/rig"
)

func contains(text, part string) bool { return strings.Contains(text, part) }

// KeeperKilled kills the keeper: within a second no process is left, the agent
// included, and `up` starts everything again.
func KeeperKilled(t *testing.T) string {
	file := filepath.Join(t.TempDir(), "pid")
	p := rig.New(t, fmt.Sprintf(`version: 1
apps:
  web:
    command: [%q, stubborn, %q]
    stop: {timeout: 1s}
  idle: {command: sleep 1000, ready: alive, workers: 3}
`, rig.Prop(), file))
	p.Up()
	rig.Until(t, 10*time.Second, "the grandchild runs", func() bool { _, err := os.Stat(file); return err == nil })
	keeper := p.Status().KeeperPID
	start := time.Now()
	if err := syscall.Kill(keeper, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	gone := rig.Within(5*time.Second, func() bool { return len(p.Left()) == 0 })
	took := time.Since(start)
	if !gone || took > time.Second {
		t.Errorf("after %v this is left of a killed keeper:\n%s", took, strings.Join(p.Left(), "\n"))
	}
	p.Up()
	p.Down()
	return fmt.Sprintf("nothing is left after %.2fs", took.Seconds())
}

// BothKilled kills keeper and agent at once: direct children are gone, and the
// next `up` names and ends the others.
func BothKilled(t *testing.T) string {
	file := filepath.Join(t.TempDir(), "pid")
	p := rig.New(t, fmt.Sprintf(`version: 1
apps:
  web:
    command: [%q, stubborn, %q]
    stop: {timeout: 1s}
`, rig.Prop(), file))
	p.Up("--no-cgroup")
	var grandchild int
	rig.Until(t, 10*time.Second, "the grandchild runs", func() bool {
		text, _ := os.ReadFile(file)
		_, err := fmt.Sscan(string(text), &grandchild)
		return err == nil
	})
	child := p.PIDs("web")[0]
	st := p.Status()
	_ = syscall.Kill(st.AgentPID, syscall.SIGSTOP) // so that it cannot act between the two
	_ = syscall.Kill(st.KeeperPID, syscall.SIGKILL)
	_ = syscall.Kill(st.AgentPID, syscall.SIGKILL)
	rig.Until(t, 5*time.Second, "the direct child is gone", func() bool { return !rig.Alive(child) })
	if !rig.Alive(grandchild) {
		t.Error("the grandchild is gone as well: this shows nothing")
	}
	r := p.Must("up", "-d", "--no-cgroup")
	if !contains(r.Stderr, fmt.Sprint(grandchild)) {
		t.Errorf("up does not name %d, which was left: %v", grandchild, r)
	}
	if rig.Alive(grandchild) {
		t.Errorf("pid %d, which was left, lives on", grandchild)
	}
	p.Healthy()
	p.Down()
	return "direct children are gone; `up` names and ends the others"
}

// NoKeeper runs without one.
func NoKeeper(t *testing.T) string {
	s := deploy(t, "hello", nil)
	s.Up("--no-keeper")
	if st := s.Status(); st.KeeperPID != 0 {
		t.Errorf("keeper %d", st.KeeperPID)
	}
	s.mustAnswer(t, "", 2)
	s.Must("reload", "hello")
	if r := s.Run("upgrade"); r.Code == 0 || !contains(r.Stderr, "keeper") {
		t.Errorf("upgrade without a keeper: %v", r)
	}
	s.Down()
	return "serves, reloads, ends; upgrade is refused"
}
