// Package fault is the one shape of an error that a user sees: what happened,
// where, the last output, what to do next, and a stable code.
//
// A room makes a *Fault where the failure happens and wraps the cause in it;
// everything above passes it on unchanged (errors.As finds it), also across the
// control socket. `muster explain CODE` prints the long text of a code from the
// table in codes.go, which is also where the exit codes come from.
package fault

import (
	"errors"
	"fmt"
)

// Code is a stable name such as E-READY-TIMEOUT.
type Code string

// Fault is an error for people. Only Code and Text are always set.
type Fault struct {
	Code Code `json:"code"`
	// Text says what happened, in one line, without the code.
	Text string `json:"text"`
	// Where: "muster.yaml:12:5", "web#2 (pid 4711)", "probe http://…".
	Where string `json:"where,omitempty"`
	// Output holds the last lines the program printed, oldest first.
	Output []string `json:"output,omitempty"`
	// Fix says what the user can do next.
	Fix string `json:"fix,omitempty"`
	// Err is the cause; it does not cross the wire.
	Err error `json:"-"`
}

// New makes a fault with the fix that the code's table entry suggests.
func New(code Code, format string, args ...any) *Fault {
	err := fmt.Errorf(format, args...)
	return &Fault{Code: code, Text: err.Error(), Err: errors.Unwrap(err), Fix: Explain(code).Fix}
}

// Error is "WHERE: TEXT (CODE)".
func (f *Fault) Error() string {
	if f.Where != "" {
		return fmt.Sprintf("%s: %s (%s)", f.Where, f.Text, f.Code)
	}
	return fmt.Sprintf("%s (%s)", f.Text, f.Code)
}

// Unwrap returns the cause.
func (f *Fault) Unwrap() error { return f.Err }

// At returns a copy that says where.
func (f *Fault) At(where string) *Fault { c := *f; c.Where = where; return &c }

// WithFix returns a copy with another fix.
func (f *Fault) WithFix(fix string) *Fault { c := *f; c.Fix = fix; return &c }

// WithOutput returns a copy that carries the program's last lines.
func (f *Fault) WithOutput(lines []string) *Fault { c := *f; c.Output = lines; return &c }

// From finds the fault in err, or wraps err as an Internal one. nil stays nil.
func From(err error) *Fault {
	if err == nil {
		return nil
	}
	var f *Fault
	if errors.As(err, &f) {
		return f
	}
	return &Fault{Code: Internal, Text: err.Error(), Err: err}
}

// CodeOf is the code in err, "" when there is none.
func CodeOf(err error) Code {
	var f *Fault
	if errors.As(err, &f) {
		return f.Code
	}
	return ""
}
