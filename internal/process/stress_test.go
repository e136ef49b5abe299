package process_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/process/processtest"
)

// descriptors counts the open ones of this process.
func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// 100 at once: each exits once, with its own code and output, and nothing stays
// open or in the process table.
func TestParallelStarts(t *testing.T) {
	const n = 100
	// Go opens its poller's descriptors with the first use.
	mustRun(t, process.Command{Argv: []string{"true"}})
	before := descriptors(t)
	d, err := process.NewDirect(process.Options{Project: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			id := itoa(i)
			c := process.Command{ID: id, Argv: []string{"sh", "-c", "echo " + id + "; exit " + id}, Dir: "/", Cgroup: true, Spool: dir + "/" + id}
			if _, err := d.Start(c); err != nil {
				t.Errorf("%s: %v", id, err)
				return
			}
			if text, err := readAll(bounded(t), d, id); err != nil || text != id+"\n" {
				t.Errorf("%s printed %q, %v", id, text, err)
			}
		})
	}
	seen := map[string]int{}
	for range n {
		e := <-d.Exits()
		seen[e.ID]++
		if itoa(e.Code) != e.ID {
			t.Errorf("%+v", e)
		}
	}
	all.Wait()
	if len(seen) != n {
		t.Errorf("%d different exits of %d", len(seen), n)
	}
	for i := range n {
		d.Ack(itoa(i))
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("spools stay: %v, %v", left, err)
	}
}

func readAll(ctx context.Context, d *process.Direct, id string) (string, error) {
	out, err := d.Output(id)
	if err != nil {
		return "", err
	}
	defer out.Close()
	var text strings.Builder
	for {
		_, data, _, err := out.Next(ctx)
		if errors.Is(err, io.EOF) {
			return text.String(), nil
		}
		if err != nil {
			return text.String(), err
		}
		text.Write(data)
		if err := processtest.Commit(out); err != nil {
			return "", err
		}
	}
}

// One ID from many sides: one process.
func TestParallelSameID(t *testing.T) {
	d := direct(t, process.Options{NoCgroup: true})
	pids := make(chan int, 20)
	for range cap(pids) {
		go func() {
			p, err := d.Start(process.Command{ID: "a", Argv: []string{"sleep", "1000"}, Dir: "/"})
			if err != nil {
				t.Error(err)
			}
			pids <- p.PID
		}()
	}
	first := <-pids
	for range cap(pids) - 1 {
		if pid := <-pids; pid != first {
			t.Errorf("%d and %d", first, pid)
		}
	}
	if _, err := d.List()[0].Kill(); err != nil {
		t.Error(err)
	}
}

// kill -9 at odd times, of the step as well as of the program: the start fails
// or the exit comes, never neither, and the ID can be used again.
func TestKillAtOddTimes(t *testing.T) {
	d := direct(t, process.Options{})
	stop := make(chan struct{})
	var killer sync.WaitGroup
	killer.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(rand.IntN(3000)) * time.Microsecond):
				killChild()
			}
		}
	})
	defer killer.Wait()
	defer close(stop)
	for i := range 150 {
		_, err := d.Start(process.Command{
			ID: "a", Argv: []string{"sh", "-c", "echo x; sleep 0.01"}, Dir: "/", Cgroup: true, Spool: t.TempDir() + "/s",
		})
		if err != nil {
			if len(d.List()) != 0 {
				t.Fatalf("round %d: %v, yet listed", i, err)
			}
			continue
		}
		select {
		case <-d.Exits():
		case <-time.After(30 * time.Second):
			t.Fatalf("round %d: no exit", i)
		}
		d.Ack("a")
	}
}

// killChild kills a child of this process that is no zombie.
func killChild() {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil || e.Name()[0] > '9' {
			continue
		}
		_, after, _ := strings.Cut(string(stat), ") ")
		if f := strings.Fields(after); len(f) > 1 && f[0] != "Z" && f[1] == itoa(os.Getpid()) {
			pid := 0
			for _, digit := range e.Name() {
				pid = pid*10 + int(digit-'0')
			}
			_ = syscall.Kill(pid, syscall.SIGKILL)
			return
		}
	}
}

// Close ends goroutines, not workers.
func TestCloseEndsNoProcess(t *testing.T) {
	d, err := process.NewDirect(process.Options{Project: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	c := processtest.Program("sleep")
	c.ID, c.Spool, c.Cgroup = "a", t.TempDir()+"/s", true
	p, err := d.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Close(), d.Close()); err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(p.PID, 0); err != nil {
		t.Errorf("it has ended: %v", err)
	}
	if _, err := d.Start(c); !errors.Is(err, process.ErrClosed) {
		t.Errorf("a start after Close: %v", err)
	}
	if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(p.PID, &status, 0, nil); err != nil || status.Signal() != syscall.SIGKILL {
		t.Errorf("%v, %v", status, err)
	}
	if p.Cgroup == "" {
		return
	}
	// The next agent of this name clears up what this one had to leave.
	if d, err = process.NewDirect(process.Options{Project: t.Name()}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(p.Cgroup); !os.IsNotExist(err) {
		t.Errorf("the cgroup stays: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// The cgroup is where a process says it is, and goes with it.
func TestCgroup(t *testing.T) {
	d := direct(t, process.Options{})
	if !d.Capabilities().Cgroup {
		t.Logf("no cgroup v2 here: %v", d.Capabilities().CgroupError)
		return
	}
	c := processtest.Program("family")
	c.Cgroup, c.Spool = true, t.TempDir()+"/s"
	p := startFor(t, d, "web#0", c)
	if p.Cgroup == "" {
		t.Fatal("it has none")
	}
	procs, err := os.ReadFile(p.Cgroup + "/cgroup.procs")
	if err != nil || !strings.Contains("\n"+string(procs), "\n"+itoa(p.PID)+"\n") {
		t.Errorf("%q, %v", procs, err)
	}
	if left, err := p.Kill(); left != 0 || err != nil {
		t.Errorf("left %d, %v", left, err)
	}
	<-d.Exits()
	d.Ack("web#0")
	if _, err := os.Stat(p.Cgroup); !os.IsNotExist(err) {
		t.Errorf("after Ack: %v", err)
	}
}
