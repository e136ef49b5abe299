package wire

import (
	"errors"
	"syscall"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process"
)

// Failure is an error on the wire.
type Failure struct {
	Code   fault.Code `json:"code,omitempty"` // "": no fault
	Text   string     `json:"text"`
	Where  string     `json:"where,omitempty"`
	Output []string   `json:"output,omitempty"`
	Fix    string     `json:"fix,omitempty"`
	Errno  int        `json:"errno,omitempty"`
	Is     string     `json:"is,omitempty"` // a name of known
}

// known are the errors that callers tell apart by errors.Is.
func known() map[string]error {
	return map[string]error{
		"unknown-process": process.ErrUnknownID, "not-member": process.ErrNotMember, "no-spool": process.ErrNoSpool,
		"output-busy": process.ErrOutputBusy, "closed": process.ErrClosed,
	}
}

// FromError makes an error ready for the wire.
func FromError(err error) *Failure {
	m := &Failure{Text: err.Error()}
	var f *fault.Fault
	if errors.As(err, &f) {
		m.Code, m.Text, m.Where, m.Output, m.Fix = f.Code, f.Text, f.Where, f.Output, f.Fix
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		m.Errno = int(errno)
	}
	for name, k := range known() {
		if errors.Is(err, k) {
			m.Is = name
		}
	}
	return m
}

// Err is the error that a failure was made of, as far as callers can tell.
func (m *Failure) Err() error {
	var cause error
	if m.Errno != 0 {
		cause = syscall.Errno(m.Errno)
	}
	if k := known()[m.Is]; k != nil {
		cause = k
	}
	switch {
	case m.Code != "":
		return &fault.Fault{Code: m.Code, Text: m.Text, Where: m.Where, Output: m.Output, Fix: m.Fix, Err: cause}
	case cause != nil && cause.Error() == m.Text:
		return cause
	case cause != nil:
		return &remote{m.Text, cause}
	}
	return errors.New(m.Text)
}

// remote is an error of the keeper that is no fault.
type remote struct {
	text  string
	cause error
}

// Error implements error.
func (e *remote) Error() string { return e.text }

// Unwrap returns the cause.
func (e *remote) Unwrap() error { return e.cause }
