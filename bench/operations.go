package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/peer"
	"github.com/muster-run/muster/worker"
)

const (
	// roundTrips one after the other, and messages in one measurement.
	roundTrips, burst = 20_000, 100_000
	// hands is how many requests are under way where there are several.
	hands = 64
	// sharers of a limiter and of a cache.
	sharers   = 8
	limitTime = 3 * time.Second
	drops     = 200
)

// figures are what one process measures.
type figures struct {
	Trip  float64 `json:"trip"`  // µs
	Asked float64 `json:"asked"` // 1/s
	Told  float64 `json:"told"`  // 1/s
}

// speaker is one way for a process to talk with its parent.
type speaker struct {
	column string
	run    func(out string) error // until out is written
}

// measureOperations compares how processes talk: with muster, with Node's own
// process.send, and over a socket pair with nothing in between.
func (b *bench) measureOperations() error {
	t := &b.operations
	trip := t.newRow("request and reply, one at a time", "µs")
	asked := t.newRow("requests, 64 under way", "1/s")
	told := t.newRow("messages to the parent", "1/s")
	all := []speaker{
		{"muster, Node.js", func(out string) error {
			return b.underMuster(out, "node "+filepath.Join(b.root, "bench", "operations.js"), 1)
		}},
		{"Node's process.send", b.ownSend},
		{"muster, Go", func(out string) error { return b.underMuster(out, b.own+" as-worker talk", 1) }},
		{"socket pair", b.socketPair},
	}
	for _, s := range all {
		t.columns = append(t.columns, s.column)
	}
	for range b.rounds {
		for _, s := range all {
			note("%s", s.column)
			f, err := measured[figures](b, s.run)
			if err != nil {
				return fmt.Errorf("%s: %w", s.column, err)
			}
			trip.note(s.column, f.Trip)
			if f.Asked > 0 {
				asked.note(s.column, f.Asked)
				told.note(s.column, f.Told)
			}
		}
	}
	return b.measureShared()
}

// measured runs something that writes a file, and reads that.
func measured[T any](b *bench, run func(out string) error) (v T, err error) {
	dir, err := os.MkdirTemp(b.dir, "out")
	if err != nil {
		return v, err
	}
	out := filepath.Join(dir, "out")
	if err := run(out); err != nil {
		return v, err
	}
	text, err := os.ReadFile(out)
	if err != nil {
		return v, err
	}
	return v, json.Unmarshal(text, &v)
}

// underMuster runs workers of a program until out is there.
func (b *bench) underMuster(out, command string, workers int) (err error) {
	m := &muster{binary: filepath.Join(b.dir, "muster"), home: out + ".m"}
	if err := os.MkdirAll(m.home, 0o700); err != nil {
		return err
	}
	yaml := fmt.Sprintf("version: 1\napps:\n  web:\n    command: %q\n    workers: %d\n    ready: alive:10ms\n    stop: {timeout: 1s}\n    env: {OUT: %q, CLIENT: %q, ROUNDS: \"%d\", BURST: \"%d\", WORKERS: \"%d\"}\n",
		command, workers, out, filepath.Join(b.root, "clients", "node", "muster.js"), roundTrips, burst, workers)
	file := filepath.Join(m.home, "muster.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		return err
	}
	if err := m.command("up", "-d", "-c", file); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.command("down", "-c", file)) }()
	return waitFile(out)
}

func waitFile(name string) error {
	if !wait(2*time.Minute, func() bool { _, err := os.Stat(name); return err == nil }) {
		return errors.New("it measured nothing in two minutes")
	}
	return nil
}

// ownSend runs a Node.js parent with its child.
func (b *bench) ownSend(out string) error {
	cmd := exec.Command("node", filepath.Join(b.root, "bench", "operations.js"))
	cmd.Env = append(os.Environ(), "BENCH=own", "OUT="+out, "ROUNDS="+strconv.Itoa(roundTrips), "BURST="+strconv.Itoa(burst))
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // with its child
		_ = cmd.Wait()
	}()
	return waitFile(out)
}

// socketPair is the limit: a line each way, between two processes that do nothing else.
func (b *bench) socketPair(out string) error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	near, far := os.NewFile(uintptr(fds[0]), "near"), os.NewFile(uintptr(fds[1]), "far")
	defer near.Close()
	cmd := exec.Command(b.own, "as-worker", "echo")
	cmd.ExtraFiles = []*os.File{far}
	if err := cmd.Start(); err != nil {
		return err
	}
	far.Close()
	defer func() { _ = cmd.Wait() }()
	defer near.Close()
	line, got := []byte(`{"cmd":"MUSTER_OP","op":"ping","id":1790000000000000,"body":{"n":1}}`+"\n"), make([]byte, 256)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began := time.Now()
	for range roundTrips {
		if _, err := unix.Write(fds[0], line); err != nil {
			return err
		}
		if _, err := unix.Read(fds[0], got); err != nil {
			return err
		}
	}
	return write(out, figures{Trip: micros(began) / roundTrips})
}

func micros(since time.Time) float64 { return float64(time.Since(since).Nanoseconds()) / 1000 }

// write puts a result in its place in one step.
func write(out string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.WriteFile(out+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(out+".new", out)
}

// asWorker is this program as a worker of the bench.
func asWorker(kind string) int {
	if kind == "echo" {
		return bounce()
	}
	return worker.Run(worker.Options{}, func(ctx context.Context, w *worker.Worker) error {
		welcome, err := w.Hello(ctx)
		if err != nil {
			return err
		}
		switch kind {
		case "talk":
			err = talk(ctx, w)
		case "limit":
			err = limit(ctx, w, welcome.Slot)
		case "cache":
			err = invalidate(ctx, w, welcome.Slot)
		}
		if err == nil {
			<-ctx.Done()
		}
		return err
	})
}

// bounce gives back what it reads at descriptor 3.
func bounce() int {
	buf := make([]byte, 256)
	runtime.LockOSThread()
	for {
		n, err := unix.Read(3, buf)
		if n <= 0 || err != nil {
			return 0
		}
		if _, err := unix.Write(3, buf[:n]); err != nil {
			return 0
		}
	}
}

func talk(ctx context.Context, w *worker.Worker) error {
	ask := func(n int) error { return w.Request(ctx, "", "ping", map[string]int{"n": n}, nil) }
	for n := range 2000 {
		if err := ask(n); err != nil {
			return err
		}
	}
	var f figures
	began := time.Now()
	for n := range roundTrips {
		if err := ask(n); err != nil {
			return err
		}
	}
	f.Trip = micros(began) / roundTrips
	began = time.Now()
	var wg sync.WaitGroup
	for range hands {
		wg.Go(func() {
			for n := range roundTrips / hands {
				_ = ask(n)
			}
		})
	}
	wg.Wait()
	f.Asked = roundTrips / time.Since(began).Seconds()
	began = time.Now()
	for sent := 0; sent < burst; sent += 500 {
		for n := range 500 {
			if err := w.Send(ctx, "", "note", map[string]int{"n": n}); err != nil {
				return err
			}
		}
		if err := ask(0); err != nil {
			return err
		}
	}
	f.Told = burst / time.Since(began).Seconds()
	return write(os.Getenv("OUT"), f)
}

// measureShared takes the rate of a limiter's checks, and how long the removal of a
// cached value takes until the last of its holders has it.
func (b *bench) measureShared() error {
	t := &b.shared
	t.columns = []string{"1 worker", fmt.Sprintf("%d workers", sharers)}
	checks := t.newRow("limiter: checks", "1/s")
	half, most := t.newRow("cache: removed everywhere, median", "µs"), t.newRow("cache: removed everywhere, 99 of 100 within", "µs")
	for range b.rounds {
		for i, n := range []int{1, sharers} {
			note("a limiter shared by %d workers", n)
			var sum float64
			run := func(out string) error { return b.underMuster(out, b.own+" as-worker limit", n) }
			rates, err := measured[[]float64](b, run)
			if err != nil {
				return fmt.Errorf("limiter: %w", err)
			}
			for _, rate := range rates {
				sum += rate
			}
			checks.note(t.columns[i], sum)
		}
		note("a cache shared by %d workers", sharers)
		times, err := measured[[]float64](b, func(out string) error { return b.underMuster(out, b.own+" as-worker cache", sharers) })
		if err != nil {
			return fmt.Errorf("cache: %w", err)
		}
		slices.Sort(times)
		half.note(t.columns[1], times[len(times)/2])
		most.note(t.columns[1], times[len(times)*99/100])
	}
	return nil
}

// limit checks as fast as it can, beside all others; the first one brings the rates
// together.
func limit(ctx context.Context, w *worker.Worker, slot int) error {
	l := w.Limiter("bench", peer.LimiterOptions{Rate: 1e9, Burst: 1e9})
	rate := make(chan float64, 1)
	w.Handle("bench:go", func(ctx context.Context, _ *peer.Request) (any, error) {
		return checkRate(ctx, l)
	})
	if slot != 0 {
		return nil
	}
	others, err := everybody(ctx, w)
	if err != nil {
		return err
	}
	go func() { // ends with the measurement
		own, _ := checkRate(ctx, l)
		rate <- own
	}()
	var rates []float64
	if others > 0 {
		for a, err := range w.Gather(ctx, "web", "bench:go", nil) {
			var r float64
			if err = errors.Join(err, a.Decode(&r)); err != nil {
				return err
			}
			rates = append(rates, r)
		}
	}
	return write(os.Getenv("OUT"), append(rates, <-rate))
}

// checkRate is how many checks a second one worker gets done, 16 under way.
func checkRate(ctx context.Context, l *peer.Limiter) (float64, error) {
	const under = 16
	var wg sync.WaitGroup
	var done [under]int
	began := time.Now()
	for i := range under {
		wg.Go(func() {
			for time.Since(began) < limitTime {
				if _, err := l.Take(ctx, "", 1); err == nil {
					done[i]++
				}
			}
		})
	}
	wg.Wait()
	sum := 0
	for _, n := range done {
		sum += n
	}
	return float64(sum) / time.Since(began).Seconds(), ctx.Err()
}

// everybody waits until all workers take part, and says how many others there are.
func everybody(ctx context.Context, w *worker.Worker) (int, error) {
	want := 1
	if text := os.Getenv("WORKERS"); text != "" {
		want, _ = strconv.Atoi(text)
	}
	var peers []peer.Info
	for ctx.Err() == nil {
		var err error
		if peers, err = w.Peers(ctx, "web"); err != nil {
			return 0, err
		}
		if len(peers) >= want {
			break
		}
		<-time.After(50 * time.Millisecond)
	}
	<-time.After(time.Second)
	peers, err := w.Peers(ctx, "web")
	return len(peers) - 1, err
}

// invalidate measures, in the first worker, from a removal until all others have said
// that the value is gone from theirs: the way back is in it.
func invalidate(ctx context.Context, w *worker.Worker, slot int) error {
	gone := make(chan struct{}, sharers)
	w.Handle("bench:gone", func(context.Context, *peer.Request) (any, error) {
		gone <- struct{}{}
		return nil, nil
	})
	var o peer.CacheOptions
	if slot != 0 {
		o.OnRemove = func(string) { _ = w.Send(ctx, "web#0", "bench:gone", nil) } // a failure is the time-out below
	}
	c, err := peer.NewCache[int](ctx, w.Peer, "bench", o)
	if err != nil || slot != 0 {
		return err
	}
	others, err := everybody(ctx, w)
	if err != nil {
		return err
	}
	var times []float64
	for range drops {
		<-time.After(5 * time.Millisecond)
		began := time.Now()
		if _, err := c.Del(ctx, "k"); err != nil {
			return err
		}
		for range others {
			select {
			case <-gone:
			case <-time.After(10 * time.Second):
				return errors.New("a value was not removed in 10 s")
			}
		}
		times = append(times, micros(began))
	}
	return write(os.Getenv("OUT"), times)
}
