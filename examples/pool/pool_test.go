package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/test/load"
)

// build makes the example, as a release.
func build(t *testing.T, path, release string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-X main.version="+release, "-o", path+".new", ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// running is the example at work.
type running struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string
}

func start(t *testing.T, path, addr string) *running {
	t.Helper()
	r := &running{t: t, cmd: exec.Command(path, addr), lines: make(chan string, 1000)}
	r.cmd.Stderr = os.Stderr
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.cmd.Process.Kill() })
	go func() {
		defer close(r.lines)
		for in := bufio.NewScanner(out); in.Scan(); {
			r.lines <- in.Text()
		}
	}()
	r.says("ready")
	return r
}

// says waits for a line.
func (r *running) says(want string) {
	r.t.Helper()
	late := time.After(time.Minute)
	for {
		select {
		case line, ok := <-r.lines:
			if line == want {
				return
			}
			if !ok {
				r.t.Fatalf("it ended without saying %q", want)
			}
		case <-late:
			r.t.Fatalf("it does not say %q", want)
		}
	}
}

// The README: it serves, is reloaded to a new release under load, and stops.
func TestExample(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pool")
	build(t, path, "1")
	l, err := net.Listen("tcp4", "127.9.8.7:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	r := start(t, path, addr)

	run := load.Start(load.Options{Addr: addr, Fresh: 8, Kept: 8})
	defer run.Stop()
	for n := 2; n <= 3; n++ {
		release := fmt.Sprint(n)
		build(t, path, release)
		if err := r.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		r.says("reloaded")
		run.Mark()
		for end := time.Now().Add(30 * time.Second); len(run.Report().PIDs()) < 4; <-time.After(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("not every worker answers: %v", run.Report().PIDs())
			}
		}
		if got := run.Report().Releases(); !slices.Equal(got, []string{release}) {
			t.Errorf("releases %v answer", got)
		}
	}
	end := run.Stop()
	if end.Lost() > 0 {
		t.Errorf("requests were lost: %v", end)
	}
	t.Log(end)
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Wait(); err != nil {
		t.Errorf("it did not end well: %v", err)
	}
	for _, pid := range end.PIDs() {
		if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil && strings.TrimSpace(string(text)) == "pool" {
			t.Errorf("pid %d is left", pid)
		}
	}
}
