package process_test

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/process/processtest"
	"github.com/muster-run/muster/spec"
)

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// state runs the program that prints its state.
func state(t *testing.T, change func(*process.Command)) string {
	t.Helper()
	c := processtest.Program("state")
	change(&c)
	r, err := process.Run(bounded(t), c)
	if err != nil || r.Exit.Code != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	return string(r.Output)
}

func wants(t *testing.T, text string, patterns ...string) {
	t.Helper()
	for _, p := range patterns {
		if !regexp.MustCompile("(?m)" + p).MatchString(text) {
			t.Errorf("no %s in\n%s", p, text)
		}
	}
}

func TestStepPlain(t *testing.T) {
	// A descriptor without CLOEXEC, and ignored signals, must not be handed down.
	leak, err := syscall.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(leak)
	signal.Ignore(syscall.SIGUSR1, syscall.SIGHUP)
	defer signal.Reset(syscall.SIGUSR1, syscall.SIGHUP)
	// Not the test program: Go catches signals for itself.
	r, err := process.Run(bounded(t), process.Command{
		Argv: []string{"sh", "-c", "cat /proc/self/status; ls -l /proc/self/fd; cat /proc/self/stat"}, Dir: "/tmp",
	})
	if err != nil {
		t.Fatal(err)
	}
	text := string(r.Output)
	wants(t, text, `^SigIgn:\s+0+$`, `^SigBlk:\s+0+$`, ` 0 -> /dev/null$`, ` 1 -> pipe:`, ` 2 -> pipe:`, `^NoNewPrivs:\s+0`)
	if n := strings.Count(text, " -> "); n != 4 { // the fourth is ls's own
		t.Errorf("%d descriptors in\n%s", n, text)
	}
	// stat: pid (name) state ppid pgrp session: the shell leads both.
	m := regexp.MustCompile(`\(cat\) R (\d+) (\d+) (\d+) `).FindStringSubmatch(text)
	if m == nil || m[1] != m[2] || m[2] != m[3] {
		t.Errorf("group and session: %q", m)
	}
}

func TestStepLimits(t *testing.T) {
	mask, nice, score, core := spec.FileMode(0o027), 5, 123, spec.Bytes(4096)
	text := state(t, func(c *process.Command) {
		c.Dir, c.Umask = "/usr", &mask
		c.Limits = spec.Limits{NoFile: 512, Nice: &nice, OOMScore: &score, Core: &core, NoNewPrivs: true}
	})
	wants(t, text, `^Umask:\s+0027`, `^NoNewPrivs:\s+1`, `^oom 123`, `^dir /usr$`, `^Max core file size\s+4096 `,
		`^Max open files\s+51[12]\s+512 `, // a Go program raises its own to one below the hard limit
		`^stat \d+ \(.*\) \w( \S+){15} 5 `)
}

// Go raises its own soft limit; a worker has the one muster was started with.
func TestStepRestoresNoFile(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, err := process.Run(bounded(t), process.Command{
		Argv: []string{"sh", "-c", `ulimit -Sn 333; exec "$@"`, "sh", self, "sh", "-c", "ulimit -Sn"},
		Env:  []string{"MUSTER_TEST_PROGRAM=nested", "PATH=/usr/bin:/bin"}, Dir: "/",
	})
	if err != nil || strings.TrimSpace(string(r.Output)) != "333" {
		t.Errorf("%q, %v", r.Output, err)
	}
	var own syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &own); err != nil {
		t.Fatal(err)
	}
	r, err = process.Run(bounded(t), process.Command{
		Argv: []string{"sh", "-c", "ulimit -Sn; ulimit -Hn"}, Dir: "/", Limits: spec.Limits{NoFile: 77},
	})
	if err != nil || !strings.HasPrefix(string(r.Output), "77\n") {
		t.Errorf("%q, %v", r.Output, err)
	}
}

func TestStepIdentity(t *testing.T) {
	if os.Geteuid() != 0 {
		// Without privileges: another identity is refused, the own one is not.
		_, err := process.Run(bounded(t), process.Command{Argv: []string{"true"}, Dir: "/", Identity: &process.Identity{}})
		if fault.CodeOf(err) != fault.Permission || !errors.Is(err, syscall.EPERM) {
			t.Errorf("%v", err)
		}
		return
	}
	text := string(mustRun(t, process.Command{
		Argv:     []string{"sh", "-c", "id -u; id -g; id -G; echo x > /dev/stdout"},
		Identity: &process.Identity{UID: 12345, GID: 23456, Groups: []uint32{23456, 34567}},
	}).Output)
	wants(t, text, `^12345$`, `^23456$`, `^23456 34567$`, `^x$`)
	// What needs privileges comes before they are given up; what does not, after.
	nice := -3
	text = string(mustRun(t, process.Command{
		Argv: []string{"sh", "-c", "nice"}, Identity: &process.Identity{UID: 12345, GID: 12345}, Limits: spec.Limits{Nice: &nice},
	}).Output)
	wants(t, text, `^-3$`)
	_, err := process.Run(bounded(t), process.Command{
		Argv: []string{"true"}, Dir: t.TempDir(), Identity: &process.Identity{UID: 12345, GID: 12345},
	})
	if fault.CodeOf(err) != fault.Permission || !errors.Is(err, syscall.EACCES) {
		t.Errorf("a directory it may not enter: %v", err)
	}
}

func mustRun(t *testing.T, c process.Command) process.Result {
	t.Helper()
	if c.Dir == "" {
		c.Dir = "/"
	}
	r, err := process.Run(bounded(t), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestStepLimitRefused(t *testing.T) {
	_, err := process.Run(bounded(t), process.Command{Argv: []string{"true"}, Dir: "/", Limits: spec.Limits{NoFile: 1 << 40}})
	if fault.CodeOf(err) != fault.Permission || !strings.Contains(err.Error(), "limits.nofile") {
		t.Errorf("%v", err)
	}
	score := 5000
	_, err = process.Run(bounded(t), process.Command{Argv: []string{"true"}, Dir: "/", Limits: spec.Limits{OOMScore: &score}})
	if fault.CodeOf(err) != fault.StartFailed || !errors.Is(err, syscall.EINVAL) {
		t.Errorf("%v", err)
	}
}

// The program is found in the worker's PATH, a relative one in its directory.
func TestStepFindsProgram(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/bin", 0o700); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{"/tool": "#!/bin/sh\necho here\n", "/bin/tool": "#!/bin/sh\necho bin $0\n"} {
		if err := os.WriteFile(dir+path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct{ name, path, want string }{
		{"./tool", "/nowhere", "here"},
		{"bin/tool", "/nowhere", "bin bin/tool"},
		{"tool", "/nowhere:bin", "bin bin/tool"},
		{"tool", "/nowhere::bin", "here"},
		{"tool", dir + "/bin:" + dir, "bin " + dir + "/bin/tool"},
	} {
		r := mustRun(t, process.Command{Argv: []string{tc.name}, Dir: dir, Env: []string{"PATH=" + tc.path}})
		if got := strings.TrimSpace(string(r.Output)); got != tc.want {
			t.Errorf("%s in %s: %q", tc.name, tc.path, got)
		}
	}
	if r := mustRun(t, process.Command{Argv: []string{"true"}}); r.Exit.Code != 0 {
		t.Errorf("without PATH: %+v", r)
	}
}

// A large environment, near the kernel's limit, fits the plan.
func TestStepLargeEnvironment(t *testing.T) {
	big := strings.Repeat("x", 100<<10)
	r := mustRun(t, process.Command{Argv: []string{"sh", "-c", "echo ${#A} ${#B}"}, Env: []string{"PATH=/usr/bin:/bin", "A=" + big, "B=" + big}})
	if string(r.Output) != "102400 102400\n" {
		t.Errorf("%q", r.Output)
	}
	_, err := process.Run(bounded(t), process.Command{Argv: []string{"true", strings.Repeat("x", 3<<20)}, Dir: "/"})
	if fault.CodeOf(err) != fault.StartFailed || !errors.Is(err, syscall.E2BIG) {
		t.Errorf("%v", err)
	}
}
