package console

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/term"

	"github.com/muster-run/muster/fault"
)

// Terminal reads commands at a prompt until the user leaves, ctx ends, or (attached)
// the session does. tty must be a terminal; it is what Stdin and Out are, too. The
// exit code is 0, but for a terminal that cannot be used.
func Terminal(ctx context.Context, o Options, tty *os.File) int {
	typing, cancel := context.WithCancel(ctx)
	defer cancel()
	c := newConsole(o)
	in, done, err := NewInput(typing, tty)
	if err != nil {
		return o.Commander.Fail(err)
	}
	defer done()
	e := newEditor(typing, c, newKeyboard(in), tty)
	c.gate.to(e.term)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { e.watch(typing, cancel) })
	if o.Live != nil {
		wg.Go(func() {
			o.Live(typing, e.say)
			if o.Attached {
				cancel()
			}
		})
	}
	return c.converse(ctx, e)
}

// converse reads lines and carries them out.
func (c *console) converse(ctx context.Context, e *editor) int {
	for {
		line, err := e.read()
		switch {
		case err != nil && e.ctx.Err() == nil && !errors.Is(err, io.EOF):
			return c.o.Commander.Fail(fault.New(fault.Internal, "the terminal cannot be read: %w", err))
		case err != nil:
			return 0
		}
		c.remember(ctx, line)
		if _, over := c.line(ctx, line); over || e.ctx.Err() != nil {
			return 0
		}
		if c.o.Looked != nil {
			c.o.Looked(ctx)
		}
	}
}

// remember keeps a line in the history.
func (c *console) remember(ctx context.Context, line string) {
	if words, err := Words(line); c.o.History == nil || err == nil && c.secretive(ctx, words) {
		return
	}
	c.o.History.Add(strings.TrimRight(line, " \t"))
}

// editor is the line that is being typed, and what is printed above it.
type editor struct {
	ctx    context.Context
	c      *console
	tty    *os.File
	term   *term.Terminal
	search search
	prompt atomic.Pointer[string] // as it stands there
}

// screen is the terminal as the line editor sees it.
type screen struct {
	io.Reader
	io.Writer
}

func newEditor(ctx context.Context, c *console, keys io.Reader, tty *os.File) *editor {
	e := &editor{ctx: ctx, c: c, tty: tty, term: term.NewTerminal(screen{keys, c.o.Out}, "")}
	e.term.AutoCompleteCallback = e.key
	e.term.History = recall{c.o.History}
	return e
}

// recall is a History to which the editor itself adds nothing.
type recall struct{ h *History }

func (recall) Add(string) {}

func (r recall) Len() int {
	if r.h == nil {
		return 0
	}
	return r.h.Len()
}

func (r recall) At(i int) string { return r.h.At(i) }

// read has the user type a line.
func (e *editor) read() (string, error) {
	restore, err := raw(e.tty)
	if err != nil {
		return "", err
	}
	defer restore()
	e.resize()
	prompt := e.c.o.Prompt()
	e.prompt.Store(&prompt)
	e.term.SetPrompt(prompt)
	line, err := e.term.ReadLine()
	if err != nil {
		_, _ = io.WriteString(e.c.o.Out, "\r\n") // the next is not to stand behind the prompt
	}
	return line, err
}

// say prints a live line above the line that is being typed; "" is for the prompt.
func (e *editor) say(line string) {
	prompt := e.c.o.Prompt()
	e.term.SetPrompt(prompt)
	if before := e.prompt.Swap(&prompt); line == "" {
		if before == nil || *before != prompt {
			_, _ = e.term.Write(nil) // draws the prompt, if there is one
		}
		return
	}
	e.c.gate.say(strings.TrimRight(line, "\n"))
}

func (e *editor) resize() {
	if width, height, err := term.GetSize(int(e.tty.Fd())); err == nil && width > 0 {
		_ = e.term.SetSize(width, height)
	}
}

// watch adapts to the terminal's size, and sees the end of the session.
func (e *editor) watch(ctx context.Context, over func()) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	defer signal.Stop(changed)
	for {
		select {
		case <-changed:
			e.resize()
		case <-e.c.o.Over:
			over()
		case <-ctx.Done():
			return
		}
	}
}

// The keys that are not the editor's own.
const (
	keyTab   = '\t'
	keyCtrlR = 0x12
)

// key is called for each key, with the line and the place of the cursor in it.
func (e *editor) key(line string, pos int, key rune) (string, int, bool) {
	switch key {
	case keyTab:
		line, pos = e.tab(line, pos)
		return line, pos, true
	case keyCtrlR:
		if e.c.o.History == nil {
			return line, pos, true
		}
		line = e.search.next(e.c.o.History, line)
		return line, len(line), true
	}
	return line, pos, false
}

// tab completes the word before the cursor as far as it is certain; where nothing is,
// it prints what is possible.
func (e *editor) tab(line string, pos int) (string, int) {
	words, typed := partial(line[:pos])
	if len(words) == 0 {
		return line, pos
	}
	list := e.c.complete(e.ctx, words)
	text := shared(list)
	if len(list) == 1 && !list[0].Open && !strings.HasPrefix(line[pos:], " ") {
		text += " "
	}
	if len(text) <= len(typed) {
		if len(list) > 1 {
			width, _, _ := term.GetSize(int(e.tty.Fd()))
			_, _ = io.WriteString(e.term, listing(list, width))
		}
		return line, pos
	}
	start := pos - len(typed)
	return line[:start] + text + line[pos:], start + len(text)
}

// search is a walk back through the history (Ctrl-R).
type search struct {
	text, shown string
	at          int
}

// next is the next older line that has in it what was typed before the first Ctrl-R.
func (s *search) next(h *History, line string) string {
	if line != s.shown || s.shown == "" {
		*s = search{text: line, at: -1}
	}
	found, at, ok := h.find(s.text, s.at+1)
	if !ok {
		return line
	}
	s.at, s.shown = at, found
	return found
}
