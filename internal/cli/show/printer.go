package show

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/term"
)

// Printer is one output stream and what it can show. Safe for concurrent use.
type Printer struct {
	mu sync.Mutex
	w  io.Writer
	// TTY: the stream is a terminal; colour: it shows colours.
	TTY, colour bool
	// width in columns of a terminal; 0: print in full.
	width int
	// failed is the first error of the stream.
	failed error
}

// NewPrinter looks at the stream and at the environment. NO_COLOR with any
// value, TERM=dumb and CI switch colour off; COLUMNS overrides the width.
func NewPrinter(w io.Writer, getenv func(string) string, noColour bool) *Printer {
	p := &Printer{w: w}
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return p
	}
	p.TTY = true
	p.colour = !noColour && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb" &&
		getenv("CI") == ""
	if width, _, err := term.GetSize(int(file.Fd())); err == nil {
		p.width = width
	}
	if n, err := strconv.Atoi(getenv("COLUMNS")); err == nil && n > 0 {
		p.width = n
	}
	return p
}

// Through is a Printer with the same looks, whose text goes to w.
func (p *Printer) Through(w io.Writer) *Printer {
	return &Printer{w: w, TTY: p.TTY, colour: p.colour, width: p.width}
}

// Write implements io.Writer.
func (p *Printer) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, err := p.w.Write(b)
	if p.failed == nil {
		p.failed = err
	}
	return n, err
}

// Failed is the first error of the stream itself, such as a full disk; nil when
// all that was printed has arrived.
func (p *Printer) Failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

// Printf prints text; Failed tells of an error of the stream itself.
func (p *Printer) Printf(format string, args ...any) { fmt.Fprintf(p, format, args...) }

// Line prints one line.
func (p *Printer) Line(format string, args ...any) { p.Printf(format+"\n", args...) }

// Ink is an SGR number.
type Ink int

// The inks that mean something.
const (
	Bold   Ink = 1
	Dim    Ink = 2
	Red    Ink = 31
	Green  Ink = 32
	Yellow Ink = 33
)

// Paint colours text where the stream shows colour.
func (p *Printer) Paint(i Ink, text string) string {
	if !p.colour || text == "" {
		return text
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", i, text)
}

// AppInk is the colour of an app among all: neighbours differ.
func AppInk(app string, apps []string) Ink {
	inks := [...]Ink{36, 35, 34, 32, 33, 96, 95, 94, 92, 93}
	i := slices.Index(apps, app)
	if i < 0 {
		i = len(app)
	}
	return inks[i%len(inks)]
}
