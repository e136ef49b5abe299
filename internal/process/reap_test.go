package process_test

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/process/processtest"
)

func itoa(n int) string { return strconv.Itoa(n) }

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); <-time.After(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within 30 s: %s", what)
}

// startFor starts a command that is killed with the test.
func startFor(t *testing.T, d *process.Direct, id string, c process.Command) process.Proc {
	t.Helper()
	c.ID = id
	if c.Dir == "" {
		c.Dir = "/"
	}
	p, err := d.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = p.Kill() })
	return p
}

// firstLine waits for the first line of output.
func firstLine(t *testing.T, d *process.Direct, id string) string {
	t.Helper()
	out, err := d.Output(id)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	text := ""
	for !strings.Contains(text, "\n") {
		_, data, _, err := out.Next(bounded(t))
		if err != nil {
			t.Fatal(err)
		}
		text += string(data)
	}
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// Orphans come to this process, and are reaped; a child that somebody else in
// this process waits for is left to them.
func TestReapStrangers(t *testing.T) {
	if err := process.Subreap(); err != nil {
		t.Fatal(err)
	}
	d := direct(t, process.Options{NoCgroup: true})
	c := processtest.Program("daemon", "0")
	c.Spool = t.TempDir() + "/spool"
	startFor(t, d, "a", c)
	orphan := atoi(t, firstLine(t, d, "a"))
	<-d.Exits()
	eventually(t, "it is our child", func() bool {
		stat, err := os.ReadFile("/proc/" + itoa(orphan) + "/stat")
		return err == nil && strings.Contains(string(stat), ") S "+itoa(os.Getpid())+" ")
	})
	other, err := os.StartProcess("/bin/false", []string{"false"}, &os.ProcAttr{})
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(orphan, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if s, err := other.Wait(); err != nil || s.ExitCode() != 1 {
		t.Errorf("os.Process was robbed: %v, %v", s, err)
	}
	eventually(t, "the orphan is reaped", func() bool { return syscall.Kill(orphan, 0) != nil })
	d.Ack("a")
}

// What left group, session and mark behind still ends with the agent.
func TestKillOrphans(t *testing.T) {
	if err := process.Subreap(); err != nil {
		t.Fatal(err)
	}
	d := direct(t, process.Options{NoCgroup: true})
	c := processtest.Program("clean", "stubborn")
	c.Spool = t.TempDir() + "/spool"
	p := startFor(t, d, "a", c)
	orphan := atoi(t, firstLine(t, d, "a"))
	<-d.Exits()
	if empty, err := p.Empty(); err != nil || !empty {
		t.Errorf("empty %v, %v: the orphan should be nobody's", empty, err)
	}
	kept := startFor(t, d, "b", processtest.Program("sleep"))
	if n, err := d.KillOrphans(); n != 1 || err != nil {
		t.Errorf("killed %d, %v", n, err)
	}
	if err := syscall.Kill(orphan, 0); err == nil {
		t.Error("the orphan lives")
	}
	if err := kept.Signal(0); err != nil {
		t.Errorf("one of the table was killed: %v", err)
	}
}

// With LeaveStrangers whoever started a child may wait for it as late as they like.
func TestLeaveStrangers(t *testing.T) {
	direct(t, process.Options{NoCgroup: true, LeaveStrangers: true})
	other, err := os.StartProcess("/bin/false", []string{"false"}, &os.ProcAttr{})
	if err != nil {
		t.Fatal(err)
	}
	<-time.After(2500 * time.Millisecond) // twice the time after which a stranger is reaped
	if s, err := other.Wait(); err != nil || s.ExitCode() != 1 {
		t.Errorf("os.Process was robbed: %v, %v", s, err)
	}
}
