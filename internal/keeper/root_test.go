package keeper

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestFirstAgent(t *testing.T) {
	boot, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer boot.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	k := newStage(t, quick(), func(p *keeperPlan, cmd *exec.Cmd) {
		p.Files, p.Inherited = []string{"record/boot", "answer"}, []string{"web"}
		cmd.ExtraFiles = []*os.File{boot, boot, socket}
	})
	a := k.agent()
	if h := a.Hello; h.PID != k.cmd.Process.Pid || h.Version != "9.9" || h.Agents != 1 || h.Last != "" ||
		h.Upgrade != nil || h.Signals != nil || time.Since(h.Started) > answerMax {
		t.Errorf("%+v", h)
	}
	if got := a.do("store"); got != "answer record/boot" {
		t.Errorf("the Store has %s", got)
	}
	env := strings.Split(a.do("own environ"), "\x00")
	for _, want := range []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=web", "LISTEN_PID=" + strconv.Itoa(a.PID), FDEnv + "=4", ProjectEnv + "=keepertest"} {
		if !slices.Contains(env, want) {
			t.Errorf("no %s in %q", want, env)
		}
	}
	if got := a.do("own comm"); got != "muster\n" {
		t.Errorf("it is called %q", got)
	}
	if got := a.do("own cmdline"); got != "muster\x00agent\x00" {
		t.Errorf("it was called by %q", got)
	}
	if fields := strings.Fields(a.do("own stat")); fields[4] != strconv.Itoa(syscall.Getpgrp()) {
		t.Errorf("it left the process group: %v", fields[:6])
	}
	a.do("up")
	a.do("end 7")
	a.tell("exit 0")
	if code := k.code(); code != 7 {
		t.Errorf("exit code %d", code)
	}
}

// A crashed agent is started again from the same program, though its file has
// become another one.
func TestRestart(t *testing.T) {
	k := newStage(t, quick(), nil)
	a := k.agent()
	if a.Exe != inode(t, k.program) {
		t.Fatal("it runs another program")
	}
	a.do("up")
	if err := os.Remove(k.program); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(k.program, []byte("#!/bin/false\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for i, end := range []struct{ how, last string }{
		{"kill", "killed by signal SIGKILL"}, {"exit 2", "exit code 2"}, {"exit 0", "exit code 0"},
	} {
		if end.how == "kill" {
			a.signal(syscall.SIGKILL)
		} else {
			a.tell(end.how)
		}
		next := k.agent()
		if h := next.Hello; h.Last != end.last || h.Agents != i+2 || next.Exe != a.Exe || next.PID == a.PID {
			t.Errorf("after %s: %+v %+v", end.how, next.said, h)
		}
		next.do("up")
		a = next
	}
	a.do("end 0")
	a.tell("exit 5") // what it says counts, not how it exits
	if code := k.code(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestGivesUp(t *testing.T) {
	k := newStage(t, quick(), nil)
	for i := range tries {
		a := k.agent()
		if a.Hello.Agents != i+1 {
			t.Errorf("%+v", a.Hello)
		}
		a.tell("exit 3")
	}
	if code := k.code(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	k.errors.await(t, "no agent comes up", 1)
}

// While something runs it is not given up.
func TestNeverGivesUpWorkers(t *testing.T) {
	k := newStage(t, quick(), nil)
	a := k.agent()
	pid := a.do("start 1 " + t.TempDir() + " sleep")
	for range tries + 2 {
		a.tell("exit 3")
		a = k.agent()
	}
	if !alive(t, pid) {
		t.Error("the worker is gone")
	}
	a.do("end 0")
	a.tell("exit 0")
	if code := k.code(); code != 0 || alive(t, pid) {
		t.Errorf("exit code %d", code)
	}
}

// alive says that the process with this number lives.
func alive(t *testing.T, pid string) bool {
	t.Helper()
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && !strings.Contains(string(text), ") Z ")
}

func TestNotUpInTime(t *testing.T) {
	w := quick()
	w.up = 300 * time.Millisecond
	k := newStage(t, w, nil)
	k.errors.await(t, neverUp, 2) // and the one that followed, too
}

// An agent that was up may hang: it is not touched.
func TestStoppedAgentIsLeftAlone(t *testing.T) {
	t.Parallel() // it takes its time
	w := quick()
	w.up = 5 * time.Second
	k := newStage(t, w, nil)
	a := k.agent()
	a.do("up")
	a.signal(syscall.SIGSTOP)
	_ = k.orders.SetDeadline(time.Now().Add(w.up + time.Second))
	if _, err := k.orders.Accept(); err == nil {
		t.Fatal("another agent was started")
	}
	a.signal(syscall.SIGCONT)
	a.do("store")
}

func TestSignals(t *testing.T) {
	k := newStage(t, quick(), nil)
	a := k.agent()
	a.do("up")
	all := []syscall.Signal{
		syscall.SIGUSR2, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM,
	}
	for _, sig := range all {
		k.signal(sig)
		if s := a.next(); s.Signal != int(sig) {
			t.Errorf("%v came as %+v", sig, s)
		}
	}
	a.signal(syscall.SIGKILL)
	a = k.agent()
	if got := a.Hello.Signals; !slices.Equal(got, []int{2, 3, 15}) {
		t.Errorf("the next one was told of %v", got)
	}
}

// What comes while there is no agent is not lost.
func TestSignalsBetweenAgents(t *testing.T) {
	w := quick()
	w.pause, w.longest = time.Hour, time.Hour
	k := newStage(t, w, nil)
	a := k.agent()
	a.do("up")
	a.tell("exit 1")
	k.agent().tell("exit 1") // the first again comes at once, the second would take an hour
	k.errors.await(t, "started again", 2)
	k.signal(syscall.SIGUSR2)
	k.signal(syscall.SIGHUP)
	k.signal(syscall.SIGTERM)
	a = k.agent()
	if got := a.Hello.Signals; !slices.Equal(got, []int{15}) {
		t.Errorf("told of %v", got)
	}
	got := []int{a.next().Signal, a.next().Signal}
	slices.Sort(got)
	if !slices.Equal(got, []int{1, 12}) {
		t.Errorf("got %v", got)
	}
}

// Before any agent was up, nobody has to wait for one.
func TestEndWithoutAgent(t *testing.T) {
	w := quick()
	w.pause, w.longest = time.Hour, time.Hour
	k := newStage(t, w, nil)
	k.agent().tell("exit 1")
	k.agent().tell("exit 1")
	k.errors.await(t, "started again", 2)
	k.signal(syscall.SIGTERM)
	k.agent().tell("exit 1")
	if code := k.code(); code != 143 {
		t.Errorf("exit code %d", code)
	}
}

// Nor for ever for one that is to end what runs, and cannot.
func TestEndByNobody(t *testing.T) {
	k := newStage(t, quick(), nil)
	a := k.agent()
	a.do("up")
	pid := a.do("start 1 " + t.TempDir() + " stubborn")
	k.signal(syscall.SIGTERM)
	if s := a.next(); s.Signal != int(syscall.SIGTERM) {
		t.Errorf("%+v", s)
	}
	for range tries - 1 {
		a.tell("exit 1")
		a = k.agent()
	}
	if !alive(t, pid) {
		t.Error("the worker is gone too early")
	}
	a.tell("exit 1")
	if code := k.code(); code != 143 || alive(t, pid) {
		t.Errorf("exit code %d", code)
	}
}

// The third INT does not wait for anybody.
func TestForced(t *testing.T) {
	k := newStage(t, quick(), nil)
	a := k.agent()
	a.do("up")
	pids := strings.Fields(a.do("start 2 " + t.TempDir() + " stubborn"))
	for range interrupts - 1 {
		k.signal(syscall.SIGINT)
		if s := a.next(); s.Signal != int(syscall.SIGINT) {
			t.Errorf("%+v", s)
		}
	}
	a.signal(syscall.SIGSTOP)
	k.signal(syscall.SIGINT)
	if code := k.code(); code != forcedCode {
		t.Errorf("exit code %d", code)
	}
	for _, pid := range append(pids, strconv.Itoa(a.PID)) {
		if alive(t, pid) {
			t.Errorf("%s lives", pid)
		}
	}
}

// poll waits for something that nobody tells.
func poll(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(answerMax)
	for !is() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatal("not in time: " + what)
		}
	}
}

// An orderly end leaves nothing, whatever the agent forgot.
func TestEndLeavesNothing(t *testing.T) {
	k := newStage(t, quick(), nil)
	a := k.agent()
	a.do("up")
	a.do("start 1 " + t.TempDir() + " family") // with a stray in a session of its own
	var pids []int
	poll(t, "the family is complete", func() bool {
		pids = descendants(t, k.cmd.Process.Pid)
		return len(pids) == 3 // agent, process, stray
	})
	a.do("end 5")
	a.tell("exit 0")
	if code := k.code(); code != 5 {
		t.Errorf("exit code %d", code)
	}
	for _, pid := range pids {
		if alive(t, strconv.Itoa(pid)) {
			t.Errorf("%d lives", pid)
		}
	}
}

// descendants of a process that are no zombies.
func descendants(t *testing.T, pid int) (all []int) {
	t.Helper()
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, f := range files {
		text, _ := os.ReadFile(f)
		for _, field := range strings.Fields(string(text)) {
			if child, _ := strconv.Atoi(field); alive(t, field) {
				all = append(append(all, child), descendants(t, child)...)
			}
		}
	}
	return all
}

// An agent that says it ends, and does not, is killed; its code counts.
func TestEndHangs(t *testing.T) {
	w := quick()
	w.exit = 200 * time.Millisecond
	k := newStage(t, w, nil)
	a := k.agent()
	a.do("up")
	a.do("end 9")
	if code := k.code(); code != 9 || alive(t, strconv.Itoa(a.PID)) {
		t.Errorf("exit code %d", code)
	}
}

// The agent says something that is no protocol: it is killed, and started again.
func TestBrokenAgent(t *testing.T) {
	k := newStage(t, quick(), nil)
	a := k.agent()
	a.do("up")
	a.tell("garbage")
	if next := k.agent(); !strings.Contains(next.Hello.Last, "cannot be understood") {
		t.Errorf("%+v", next.Hello)
	}
}

// Direct children die with the keeper, the agent learns of it.
func TestKeeperKilled(t *testing.T) {
	k := newStage(t, quick(), nil)
	a := k.agent()
	a.do("up")
	pids := strings.Fields(a.do("start 3 " + t.TempDir() + " sleep"))
	if err := k.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if s := a.next(); !s.Lost {
		t.Errorf("%+v", s)
	}
	for _, pid := range pids {
		poll(t, "the worker is gone", func() bool { return !alive(t, pid) })
	}
	if got := a.do("own comm"); got != "muster\n" {
		t.Errorf("the agent does not live: %q", got)
	}
}

func TestBackOff(t *testing.T) {
	r := &root{t: defaultTimes()}
	var got []time.Duration
	for fails := range 9 {
		got = append(got, r.backOff(fails))
	}
	ms := time.Millisecond
	if want := []time.Duration{0, 100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 5 * time.Second, 5 * time.Second}; !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

// A healthy time ends the back-off; a shorter one does not.
func TestSettle(t *testing.T) {
	r := &root{t: defaultTimes(), o: Options{Log: slog.New(slog.DiscardHandler)}}
	for i, tc := range []struct{ served, wait time.Duration }{
		{0, 0},
		{time.Millisecond, 100 * time.Millisecond},
		{999 * time.Millisecond, 200 * time.Millisecond},
		{time.Millisecond, 200 * time.Millisecond}, // no longer for one that came up
		{0, 800 * time.Millisecond},
		{time.Second, 0},
		{0, 100 * time.Millisecond},
	} {
		if wait := r.settle(fate{why: "exit code 1", served: tc.served}); wait != tc.wait {
			t.Errorf("%d: %v", i, wait)
		}
	}
}
