package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/term"
)

// printer is one output stream and what it can show. Safe for concurrent use.
type printer struct {
	mu     sync.Mutex
	w      io.Writer
	tty    bool
	colour bool
	// width in columns of a terminal; 0: print in full.
	width int
}

// newPrinter looks at the stream and at the environment. NO_COLOR with any
// value, TERM=dumb and CI switch colour off; COLUMNS overrides the width.
func newPrinter(w io.Writer, environ []string, noColour bool) *printer {
	p := &printer{w: w}
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return p
	}
	p.tty = true
	p.colour = !noColour && getenv(environ, "NO_COLOR") == "" && getenv(environ, "TERM") != "dumb" &&
		getenv(environ, "CI") == ""
	if width, _, err := term.GetSize(int(file.Fd())); err == nil {
		p.width = width
	}
	if n, err := strconv.Atoi(getenv(environ, "COLUMNS")); err == nil && n > 0 {
		p.width = n
	}
	return p
}

func (p *printer) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.w.Write(b)
}

// printf prints text; an error of the stream itself cannot be told to anybody.
func (p *printer) printf(format string, args ...any) { fmt.Fprintf(p, format, args...) }

// line prints one line.
func (p *printer) line(format string, args ...any) { p.printf(format+"\n", args...) }

// ink is an SGR number.
type ink int

const (
	bold   ink = 1
	dim    ink = 2
	red    ink = 31
	green  ink = 32
	yellow ink = 33
)

// paint colours text where the stream shows colour.
func (p *printer) paint(i ink, text string) string {
	if !p.colour || text == "" {
		return text
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", i, text)
}

// appInk is the colour of an app among all: neighbours differ.
func appInk(app string, apps []string) ink {
	inks := [...]ink{36, 35, 34, 32, 33, 96, 95, 94, 92, 93}
	i := slices.Index(apps, app)
	if i < 0 {
		i = len(app)
	}
	return inks[i%len(inks)]
}

// getenv is the last value of a variable, "" without one.
func getenv(environ []string, name string) string {
	for i := len(environ) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(environ[i], name+"="); ok {
			return v
		}
	}
	return ""
}
