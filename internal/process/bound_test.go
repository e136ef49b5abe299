package process_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/process/processtest"
)

// parentEnv makes the test binary a parent that starts three processes, one of
// them as another user where it may, prints their pids and waits to be killed.
// "bound" ties them to its life.
const parentEnv = "MUSTER_TEST_PARENT"

func beParent() int {
	d, err := process.NewDirect(process.Options{NoCgroup: true, DieWithParent: os.Getenv(parentEnv) == "bound"})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for i := range 3 {
		c := processtest.Program("sleep")
		c.ID, c.Spool = strconv.Itoa(i), filepath.Join(os.Args[1], strconv.Itoa(i))
		if i == 1 && os.Geteuid() == 0 {
			c.Identity = &process.Identity{UID: 12345, GID: 12345}
			c.Argv = []string{"sleep", "3600"}
		}
		p, err := d.Start(c)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println(p.PID)
	}
	select {}
}

// gone waits until a process is no more (or a zombie that nobody reaps).
func gone(pid int, limit time.Duration) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return true
	}
	defer unix.Close(fd)
	for end := time.Now().Add(limit); ; {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(max(0, time.Until(end)).Milliseconds()))
		if !errors.Is(err, unix.EINTR) { // Go's own signals come all the time
			return n > 0
		}
	}
}

// killParent kills a parent by SIGKILL and returns what it had started.
func killParent(t *testing.T, mode string) []int {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, t.TempDir())
	cmd.Env = append(os.Environ(), parentEnv+"="+mode)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	for lines := bufio.NewScanner(out); len(pids) < 3 && lines.Scan(); {
		pid, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatal(lines.Text())
		}
		pids = append(pids, pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if len(pids) != 3 {
		t.Fatalf("started %v", pids)
	}
	return pids
}

func TestDieWithParent(t *testing.T) {
	for _, pid := range killParent(t, "bound") {
		if !gone(pid, 2*time.Second) {
			t.Errorf("%d lives", pid)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// Without the option they live, so the test above can fail.
func TestOutliveParent(t *testing.T) {
	for _, pid := range killParent(t, "free") {
		if gone(pid, 50*time.Millisecond) {
			t.Errorf("%d is gone", pid)
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// The threads of locked goroutines end all the time; the one that forks stays.
func TestForkingThreadStays(t *testing.T) {
	d := direct(t, process.Options{NoCgroup: true, DieWithParent: true})
	started := make(chan process.Proc, 64)
	var all sync.WaitGroup
	for i := range cap(started) {
		all.Go(func() {
			var locked sync.WaitGroup
			locked.Go(func() { runtime.LockOSThread() }) // its thread ends
			c := processtest.Program("sleep")
			c.ID = strconv.Itoa(i)
			p, err := d.Start(c)
			if err != nil {
				t.Error(err)
			}
			started <- p
			runtime.GC()
			locked.Wait()
		})
	}
	all.Wait()
	close(started)
	var pids []int
	for p := range started {
		pids = append(pids, p.PID)
	}
	if parents := forkingThreads(t, pids); len(parents) != 1 {
		t.Errorf("forked by threads %v", parents)
	}
	for _, p := range d.List() {
		if p.Exit != nil {
			t.Errorf("%+v", p.Exit)
		}
		if _, err := p.Kill(); err != nil {
			t.Error(err)
		}
	}
}

// forkingThreads are the threads of this process that pids are children of.
func forkingThreads(t *testing.T, pids []int) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	var threads []string
	for _, f := range files {
		text, _ := os.ReadFile(f)
		for _, field := range strings.Fields(string(text)) {
			if pid, _ := strconv.Atoi(field); slices.Contains(pids, pid) {
				threads = append(threads, filepath.Base(filepath.Dir(f)))
				break
			}
		}
	}
	return threads
}

// beAide tells about itself on descriptor 3 and ends with 7.
func beAide() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 1
	}
	out := os.NewFile(3, "out")
	fmt.Fprintln(out, strings.Join(os.Environ(), "\n"))
	fmt.Fprintf(out, "group %d\nargs %s\ndescriptors ", syscall.Getpgrp(), strings.Join(os.Args, " "))
	for _, e := range entries {
		var st syscall.Stat_t
		fd, _ := strconv.Atoi(e.Name())
		if flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFD, 0); errno == 0 &&
			flags&syscall.FD_CLOEXEC == 0 && syscall.Fstat(fd, &st) == nil {
			fmt.Fprint(out, fd, " ")
		}
	}
	fmt.Fprintln(out)
	out.Close()
	return 7
}

// aide starts a program as an aide from a copy of the binary that is gone when
// it starts.
func aide(t *testing.T, d *process.Direct, program string, change func(*process.Command)) *process.Aide {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, self, 0o700); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	c := processtest.Program(program)
	c.Dir = ""
	if change != nil {
		change(&c)
	}
	a, err := d.StartAide(exe, c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAide(t *testing.T) {
	d := direct(t, process.Options{NoCgroup: true})
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	a := aide(t, d, "", func(c *process.Command) {
		c.Argv = []string{"aide", "agent"}
		c.Files, c.Listen = []process.NamedFD{{Name: "one", File: write}, {Name: "two", File: write}}, 1
	})
	write.Close()
	text, err := io.ReadAll(read)
	if err != nil {
		t.Fatal(err)
	}
	out := string(text)
	pid := strconv.Itoa(a.PID)
	wants(t, out, "^LISTEN_PID="+pid+"$", "^LISTEN_FDS=1$", "^LISTEN_FDNAMES=one$", "^descriptors 0 1 2 3 4 $",
		"^group "+strconv.Itoa(syscall.Getpgrp())+"$", "^args aide agent$")
	if strings.Contains(out, process.MarkEnv) {
		t.Errorf("a mark in\n%s", out)
	}
	if e := a.Wait(); e.Code != 7 || e.PID != a.PID {
		t.Errorf("%+v", e)
	}
	if err := a.Signal(syscall.SIGTERM); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("a signal after the end: %v", err)
	}
}

// What is not its own is reaped and killed as a stranger; the aide is not.
func TestAideIsNoStranger(t *testing.T) {
	d := direct(t, process.Options{NoCgroup: true})
	a := aide(t, d, "sleep", nil)
	if n, err := d.KillOrphans(); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if list := d.List(); len(list) != 0 {
		t.Errorf("%v", list)
	}
	if err := a.Signal(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	// A zombie, and the look for strangers must leave it to Wait.
	if !gone(a.PID, 5*time.Second) {
		t.Error("it lives")
	}
	if n, err := d.KillOrphans(); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if e := a.Wait(); e.Signal != syscall.SIGKILL || e.Code != -1 {
		t.Errorf("%+v", e)
	}
}

func TestAideScript(t *testing.T) {
	d := direct(t, process.Options{NoCgroup: true})
	path := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(path, []byte("no program\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := d.StartAide(f, process.Command{Argv: []string{"muster"}}); !errors.Is(err, syscall.ENOEXEC) {
		t.Errorf("%v", err)
	}
}
