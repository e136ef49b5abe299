package crash

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/internal/op"
)

func TestOf(t *testing.T) {
	long := strings.Repeat("é", event.CrashMax)
	c := Of(op.CrashBody{Error: "a\x1b[2Jb\xff\nc", Stack: long, Type: "T\nU" + long})
	if c.Error != "a [2Jb\nc" || c.Type != "T" {
		t.Errorf("%q, %q", c.Error, c.Type)
	}
	if len(c.Stack) > event.CrashMax || len(c.Stack) < event.CrashMax-4 || !utf8.ValidString(c.Stack) {
		t.Errorf("a stack of %d bytes", len(c.Stack))
	}
}

func TestText(t *testing.T) {
	for want, c := range map[string]*event.WorkerCrash{
		"":                               nil,
		"TypeError: x is no function":    {Type: "TypeError", Error: "x is no function\nmore"},
		"ValueError: bad":                {Type: "ValueError", Error: "ValueError: bad"},
		"boom":                           {Error: " \nboom"},
		"SystemError":                    {Type: "SystemError"},
		"E: " + strings.Repeat("x", 297): {Type: "E", Error: strings.Repeat("x", 500)},
	} {
		if got := Text(c); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestBrief(t *testing.T) {
	full := event.WorkerCrash{Error: strings.Repeat("e", 9000), Type: "T", Stack: strings.Repeat("\n"+strings.Repeat("s", 400)+"\r\n", 100)}
	c := Brief(full)
	if len(c.Error) != briefError || len(Top(c, 1000)) != briefLines || len(Top(c, 1)[0]) != lineMax || c.Type != "T" {
		t.Errorf("%d bytes, %d lines", len(c.Error), len(Top(c, 1000)))
	}
	if Top(nil, 5) != nil || Top(&full, 0) != nil {
		t.Error("something of nothing")
	}
}

// The stack stands above the last lines, unless the program has printed it itself.
func TestAbove(t *testing.T) {
	c := &event.WorkerCrash{Stack: "main.go:7\nmain.go:9"}
	if got := Above(c, []string{"x"}); !slices.Equal(got, []string{"main.go:7", "main.go:9", "x"}) {
		t.Errorf("%q", got)
	}
	printed := []string{"panic", "    at main.go:7"}
	if got := Above(c, printed); !slices.Equal(got, printed) {
		t.Errorf("%q", got)
	}
	if got := Above(nil, printed); !slices.Equal(got, printed) {
		t.Errorf("%q", got)
	}
}
