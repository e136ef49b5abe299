package scalar

import (
	"fmt"
	"strings"
)

// Invalid is the error of everything here that reads a text form: what is
// wrong, and what to write instead (may be "").
type Invalid struct {
	Text, Fix string
}

// Error is "TEXT: FIX".
func (e *Invalid) Error() string {
	if e.Fix == "" {
		return e.Text
	}
	return e.Text + ": " + e.Fix
}

// Invalidf takes "text: fix"; the first ": " of the format parts them.
func Invalidf(format string, args ...any) error {
	text, fix, _ := strings.Cut(format, ": ")
	n := strings.Count(text, "%")
	return &Invalid{Text: fmt.Sprintf(text, args[:n]...), Fix: fmt.Sprintf(fix, args[n:]...)}
}
