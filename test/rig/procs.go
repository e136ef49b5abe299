package rig

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// markVar is in the environment of everything a project starts.
const markVar = "RIG_MARK"

// Left lists the processes that carry a project's mark, as "pid command".
// Zombies have no environment, so they are not seen here (see Zombies).
func (p *Project) Left() []string {
	var left []string
	for _, pid := range p.marked() {
		cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil {
			left = append(left, fmt.Sprintf("%d %s", pid, bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})))
		}
	}
	return left
}

func (p *Project) marked() []int {
	var pids []int
	mark := []byte(markVar + "=" + p.mark)
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range files {
		env, err := os.ReadFile(f)
		if err != nil || !hasVariable(env, mark) {
			continue
		}
		if pid, err := strconv.Atoi(strings.Split(f, "/")[2]); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func hasVariable(environ, want []byte) bool {
	for _, kv := range bytes.Split(environ, []byte{0}) {
		if bytes.Equal(kv, want) {
			return true
		}
	}
	return false
}

// NothingLeft fails the test if a marked process is still there after a moment.
func (p *Project) NothingLeft() {
	p.t.Helper()
	if !Within(2*time.Second, func() bool { return len(p.marked()) == 0 }) {
		p.t.Errorf("left behind:\n  %s", strings.Join(p.Left(), "\n  "))
	}
}

// sweep kills what carries the mark, for tests that failed half-way.
func (p *Project) sweep() {
	Within(10*time.Second, func() bool {
		pids := p.marked()
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		return len(pids) == 0
	})
}

// Alive says whether a process exists and is no zombie.
func Alive(pid int) bool {
	state := stat(pid, 0)
	return state != "" && state != "Z" && state != "X"
}

// Zombies counts the children of a process that nobody has waited for.
func Zombies(parent int) int {
	n := 0
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range files {
		pid, err := strconv.Atoi(strings.Split(f, "/")[2])
		if err == nil && stat(pid, 0) == "Z" && stat(pid, 1) == strconv.Itoa(parent) {
			n++
		}
	}
	return n
}

// stat is a field of /proc/PID/stat, counted from the state; "" without one.
func stat(pid, field int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if field >= len(fields) {
		return ""
	}
	return fields[field]
}

// CPU is the processor time that a process has used, and those of its children
// that have ended and were waited for.
func CPU(t testing.TB, pid int) time.Duration {
	t.Helper()
	ticks := 0
	for field := 11; field <= 14; field++ { // utime, stime, cutime, cstime
		n, err := strconv.Atoi(stat(pid, field))
		if err != nil {
			t.Fatalf("process %d is gone", pid)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100
}

// Descriptors counts the open files of a process.
func Descriptors(t testing.TB, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatalf("process %d is gone: %v", pid, err)
	}
	return len(entries)
}
