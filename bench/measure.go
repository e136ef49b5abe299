package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/test/load"
)

func (b *bench) measure() error {
	for _, part := range []func() error{b.replacement, b.reloads, b.crowd, b.succession, b.stepCost, b.roundTrip} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

func note(format string, args ...any) { fmt.Fprintf(os.Stderr, format+" …\n", args...) }

// marks is a directory in which each worker that runs makes a file.
func (b *bench) marks(p rival) (dir string, w workload, err error) {
	dir, err = os.MkdirTemp(b.dir, "marks")
	return dir, workload{argv: []string{b.prop, "mark", dir}}, err
}

func count(dir string) int {
	entries, _ := os.ReadDir(dir)
	return len(entries)
}

// replacement kills one worker of each peer in turn and takes the time until its
// replacement runs.
func (b *bench) replacement() error {
	note("kill -9 → replacement")
	r := b.newRow("kill -9 → replacement runs", "ms")
	dirs := map[rival]string{}
	for _, p := range b.peers {
		dir, w, err := b.marks(p)
		if err != nil {
			return err
		}
		w.n, dirs[p] = 4, dir
		if err := p.start(w); err != nil {
			return err
		}
		defer func() { _ = p.stop() }()
		if !wait(time.Minute, func() bool { return count(dir) == 4 }) {
			return fmt.Errorf("%s did not start 4 workers", p.name())
		}
	}
	<-time.After(2 * time.Second) // over supervisor's startsecs, muster's min_uptime
	for range b.rounds {
		for _, p := range b.peers {
			took, err := kill(dirs[p])
			if err != nil {
				return fmt.Errorf("%s: %w", p.name(), err)
			}
			r.add(p, float64(took.Microseconds())/1000)
		}
		<-time.After(2 * time.Second)
	}
	return nil
}

// kill ends the worker of some mark.
func kill(dir string) (time.Duration, error) {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		return 0, fmt.Errorf("no marks: %w", err)
	}
	pid, err := strconv.Atoi(entries[0].Name())
	if err != nil {
		return 0, err
	}
	if err := os.Remove(filepath.Join(dir, entries[0].Name())); err != nil {
		return 0, err
	}
	before, start := len(entries)-1, time.Now()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return 0, err
	}
	if !wait(time.Minute, func() bool { return count(dir) > before }) {
		return 0, errors.New("a killed worker was not replaced in a minute")
	}
	return time.Since(start), nil
}

// reloads counts what is lost in a reload of a Node.js server under load.
func (b *bench) reloads() error {
	fresh, kept := b.newRow("lost in a reload, new connections", ""), b.newRow("lost in a reload, keep-alive", "")
	longest := b.newRow("longest answer in a reload", "ms")
	for _, p := range b.peers {
		note("reloads of %s", p.name())
		addr, err := freeAddr()
		if err != nil {
			return err
		}
		if err := p.start(workload{n: 3, addr: addr, dir: filepath.Join(b.root, "examples", "node")}); err != nil {
			return err
		}
		for range b.rounds {
			report, err := reloadOnce(p, addr)
			if err != nil {
				return errors.Join(err, p.stop())
			}
			fresh.add(p, float64(report.Fresh.Total()))
			kept.add(p, float64(report.Kept.Total()))
			longest.add(p, float64(report.Longest.Milliseconds()))
		}
		if err := p.stop(); err != nil {
			return err
		}
	}
	return nil
}

func reloadOnce(p rival, addr string) (load.Report, error) {
	run := load.Start(load.Options{Addr: addr, Fresh: 16, Kept: 16})
	defer run.Stop()
	if !wait(time.Minute, func() bool { r := run.Report(); return len(r.PIDs()) >= 3 && r.Answers() > 500 }) {
		return load.Report{}, fmt.Errorf("%s does not serve: %v", p.name(), run.Report())
	}
	before := run.Report()
	if err := p.reload(); err != nil {
		return load.Report{}, err
	}
	<-time.After(time.Second)
	after := run.Stop()
	for _, k := range load.Kinds() { // what was lost before it served is not the reload's
		after.Fresh.Lost[k] -= before.Fresh.Lost[k]
		after.Kept.Lost[k] -= before.Kept.Lost[k]
	}
	return after, nil
}

// crowd starts many idle workers and looks at what their supervisor needs.
func (b *bench) crowd() error {
	for _, n := range []int{10, 100, 500} {
		if n > b.most {
			continue
		}
		started := b.newRow(fmt.Sprintf("start of %d workers", n), "ms")
		memory := b.newRow(fmt.Sprintf("memory beside %d idle workers", n), "MB")
		keeper := b.newRow("  of it the keeper's own (RssAnon)", "MB")
		cpu := b.newRow(fmt.Sprintf("CPU beside %d idle workers", n), "%")
		rounds := 1
		if n == 100 {
			rounds = min(3, b.rounds)
		}
		for range rounds {
			for _, p := range b.peers {
				note("%d workers of %s", n, p.name())
				if err := b.crowdOf(p, n, crowdRows{started, memory, keeper, cpu}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

type crowdRows struct{ started, memory, keeper, cpu *row }

func (b *bench) crowdOf(p rival, n int, rows crowdRows) error {
	dir, w, err := b.marks(p)
	if err != nil {
		return err
	}
	w.n = n
	start := time.Now()
	done := make(chan error, 1)
	go func() { done <- p.start(w) }()
	if !wait(5*time.Minute, func() bool { return count(dir) >= n }) {
		return fmt.Errorf("%s started %d of %d workers", p.name(), count(dir), n)
	}
	rows.started.add(p, float64(time.Since(start).Milliseconds()))
	if err := <-done; err != nil {
		return err
	}
	pids, err := p.pids()
	if err != nil {
		return err
	}
	<-time.After(3 * time.Second)
	const span = 10 * time.Second
	before := sum(pids, cpuTime)
	<-time.After(span)
	rows.cpu.add(p, 100*(sum(pids, cpuTime)-before).Seconds()/span.Seconds())
	rows.memory.add(p, float64(sum(pids, rss))/1e6)
	if len(pids) > 1 {
		rows.keeper.add(p, float64(rssAnon(pids[0]))/1e6)
	}
	return p.stop()
}

// stepCost compares a start through muster's exec step, which is this binary,
// with a bare fork and exec.
func (b *bench) stepCost() error {
	note("exec step")
	step, bare := b.newRow("fork + exec through the exec step", "ms"), b.newRow("fork + exec alone", "ms")
	for range 20 * b.rounds {
		start := time.Now()
		if _, err := process.Run(context.Background(), process.Command{Argv: []string{"/bin/true"}, Dir: "/"}); err != nil {
			return err
		}
		step.add(b.peers[0], float64(time.Since(start).Microseconds())/1000)
		start = time.Now()
		pid, err := syscall.ForkExec("/bin/true", []string{"true"}, &syscall.ProcAttr{Files: []uintptr{0, 2, 2}})
		if err != nil {
			return err
		}
		if _, err := syscall.Wait4(pid, nil, 0, nil); err != nil {
			return err
		}
		bare.add(b.peers[0], float64(time.Since(start).Microseconds())/1000)
	}
	return nil
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func wait(d time.Duration, cond func() bool) bool {
	end := time.Now().Add(d)
	for !cond() {
		if time.Now().After(end) {
			return false
		}
		time.Sleep(time.Millisecond)
	}
	return true
}

// sum adds up a figure of several processes.
func sum[N int | time.Duration](pids []int, of func(pid int) N) (total N) {
	for _, pid := range pids {
		total += of(pid)
	}
	return total
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

// cpuTime is what a process has used, without its children.
func cpuTime(pid int) time.Duration {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}

func rss(pid int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	f := strings.Fields(string(text))
	if len(f) < 2 {
		return 0
	}
	pages, _ := strconv.Atoi(f[1])
	return pages * os.Getpagesize()
}

// rssAnon is the memory of a process that no file is behind, in bytes.
func rssAnon(pid int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(text), "RssAnon:")
	var kilobytes int
	_, _ = fmt.Sscan(rest, &kilobytes)
	return kilobytes << 10
}
