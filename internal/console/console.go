package console

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// Commander is the command line of muster, for the console's own project.
type Commander interface {
	// Run carries out a command line (without "muster"), prints what there is to say,
	// and returns its exit code. It returns soon after ctx has ended.
	Run(ctx context.Context, args []string) int
	// Complete gives what may stand in the place of the last of words.
	Complete(ctx context.Context, words []string) []Candidate
	// Verbs are the first words that it knows.
	Verbs() []string
	// Fail prints an error, and returns its exit code.
	Fail(err error) int
}

// Agent is what the console itself asks the agent; client.Client has it.
type Agent interface {
	Commands(ctx context.Context) (api.Commands, error)
	RunCommand(ctx context.Context, r api.CommandRun) (api.Replies, error)
	Spec(ctx context.Context, secrets bool) (spec.Spec, error)
}

// Candidate is what a word may be completed to; Help says what it is.
type Candidate struct {
	Text, Help string
	// Open: more of the word may follow, so no space is put behind it.
	Open bool
}

// Options of a console.
type Options struct {
	Commander Commander
	Agent     Agent
	// Attached: the console was started with the session, and exit ends that. Else
	// it only leaves the console.
	Attached bool
	// Prompt is what stands before a line; it is asked often, and must not block. nil:
	// "> ".
	Prompt func() string
	// Live tells of what happens until ctx ends, or nothing more can come: then an
	// attached console ends, too. An empty line means that Prompt has become another.
	// nil: nothing.
	Live func(ctx context.Context, say func(line string))
	// Over says that the session has ended: the console leaves as soon as the command
	// that runs is done. nil: nobody says so.
	Over <-chan os.Signal
	// Looked is called after each command: what Prompt shows may be another. nil: not.
	Looked func(ctx context.Context)
	// History of a terminal; nil: none.
	History *History
	// Interrupts are the Ctrl-C: each ends the command that runs.
	Interrupts <-chan os.Signal
	Stdin      io.Reader
	// Out is where a command's answer goes, Notes what is said beside it.
	Out, Notes io.Writer
}

// errLeave ends the console; its exit code is 0.
var errLeave = errors.New("leave the console")

// Piped reads commands from Stdin until its end or the first that fails, and returns
// that one's exit code. An interrupt ends the command and the console, with 130.
func Piped(ctx context.Context, o Options) int {
	c := newConsole(o)
	lines := bufio.NewReader(o.Stdin)
	for ctx.Err() == nil {
		line, err := readLine(lines)
		if line != "" {
			if code, over := c.line(ctx, strings.TrimRight(line, "\r\n")); over || code != 0 {
				return code
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return 0
		case err != nil:
			return o.Commander.Fail(fault.New(fault.Usage, "cannot read the commands: %w", err).WithFix("pipe text into it, one command a line"))
		}
	}
	return interrupted
}

// lineMax is how long a line may be, in bytes: the largest message with room to spare.
const lineMax = 4 << 20

// readLine is bufio.Reader.ReadString for lines of at most lineMax: what has none, such
// as a file of another kind, is not read into memory whole.
func readLine(r *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > lineMax {
			return "", fmt.Errorf("a line is longer than %d MiB", lineMax>>20)
		}
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return string(line), err
		}
	}
}

// interrupted is the exit code of what Ctrl-C has ended.
const interrupted = 130

// console is what both kinds of it have.
type console struct {
	o    Options
	gate *gate
}

func newConsole(o Options) *console {
	if o.Prompt == nil {
		o.Prompt = func() string { return "> " }
	}
	return &console{o: o, gate: newGate(o.Notes)}
}

// line carries out one line. over says that the console is to end.
func (c *console) line(ctx context.Context, text string) (code int, over bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	select {
	case <-c.o.Interrupts: // of the time before
	default:
	}
	var watch sync.WaitGroup
	defer watch.Wait() // else it could take what is meant for the next line
	done := make(chan struct{})
	defer close(done)
	watch.Go(func() {
		select {
		case <-c.o.Interrupts:
			cancel()
		case <-done:
		}
	})
	words, err := Words(text)
	if len(words) > 1 && words[0] == "muster" {
		words = words[1:]
	}
	if err == nil && len(words) > 0 {
		code, err = c.run(ctx, words)
	}
	switch {
	case errors.Is(err, errLeave):
		return code, true
	case err != nil:
		code = c.o.Commander.Fail(err)
	}
	return code, false
}

// run finds out what the first word is.
func (c *console) run(ctx context.Context, words []string) (int, error) {
	if code, known, err := c.own(ctx, words); known {
		return code, err
	}
	if slices.Contains(c.o.Commander.Verbs(), words[0]) || strings.HasPrefix(words[0], "-") {
		args, err := c.translate(ctx, words)
		if err != nil {
			return 0, err
		}
		return c.give(ctx, args), nil
	}
	return c.offered(ctx, words)
}

// give has muster carry out a command. One that takes the terminal to itself is not
// disturbed by live lines.
func (c *console) give(ctx context.Context, args []string) int {
	if slices.Contains([]string{"logs", "events", "exec", "console", "top"}, args[0]) {
		c.gate.shut()
		defer c.gate.open()
	}
	return c.o.Commander.Run(ctx, args)
}
