package process

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process/spool"
	"github.com/muster-run/muster/internal/process/tail"
)

// OutputMax bounds Result.Output.
const OutputMax = 64 << 10

// Result of Run.
type Result struct {
	Exit Exit
	// Output is stdout and stderr as they came, the last OutputMax bytes.
	Output []byte
	// Truncated says that Output lacks its beginning.
	Truncated bool
}

// LastLines are the last n lines of Output, for a fault; nil: it printed nothing.
func (r Result) LastLines(n int) []string {
	text := strings.TrimRight(string(r.Output), "\r\n")
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	return lines[max(0, len(lines)-n):]
}

// Run runs a short command to its end in a group of its own. When ctx ends
// first, everything in the group is killed and err is ctx's error. A program
// that cannot be started is a *fault.Fault; one that ends with another code
// than 0 is no error. What it leaves in the background lives on. Cgroup, Spool,
// Meta and KillAt are not used.
func Run(ctx context.Context, c Command) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	if c.ID == "" {
		c.ID = "run"
	}
	read, ch, err := startPiped(c)
	if err != nil {
		return Result{}, err
	}
	defer ch.pidfd.Close()
	last := &tail.Tail{Max: OutputMax}
	drained := make(chan struct{})
	go func() { // ends with the pipe, or its deadline
		defer close(drained)
		last.ReadAll(read)
	}()
	end, err := ch.waitOrKill(ctx, c.ID)
	// What is left in the background may hold the pipe for ever.
	_ = read.SetReadDeadline(time.Now().Add(quietFor))
	<-drained
	last.ReadRest(read)
	read.Close()
	exit := Exit{
		ID: c.ID, PID: ch.pid, Code: end.code, Signal: end.signal, Core: end.core, Time: time.Now(), CPU: end.cpu,
	}
	text, cut := last.Bytes()
	return Result{Exit: exit, Output: text, Truncated: cut}, err
}

// startPiped starts the command with one pipe for both streams.
func startPiped(c Command) (read *os.File, ch *child, err error) {
	read, write, err := spool.NewPipe()
	if err != nil {
		return nil, nil, fault.New(fault.StartFailed, "cannot start: %w", err)
	}
	defer write.Close()
	spool.GivePipe(write, c.uid())
	stdin := c.Stdin
	if stdin == nil {
		if stdin, err = os.Open(os.DevNull); err != nil {
			read.Close()
			return nil, nil, fault.New(fault.StartFailed, "cannot start: %w", err)
		}
		defer stdin.Close()
	}
	if ch, err = spawn(c, birth{stdio: [3]*os.File{stdin, write, write}}); err != nil {
		read.Close()
		return nil, nil, err
	}
	return read, ch, nil
}

// waitOrKill waits for the end, which it brings about when ctx ends, and reaps.
func (ch *child) waitOrKill(ctx context.Context, id string) (ended, error) {
	killed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(killed)
		p := Proc{ID: id, PID: ch.pid, StartTime: ch.start, PidFD: ch.pidfd}
		_, _ = p.Kill()
	})
	// A zombie until the group is killed: its number is used for that.
	end, err := ch.wait(false)
	if !stop() {
		<-killed
		err = ctx.Err()
	}
	_, _ = ch.wait(true)
	return end, err
}
