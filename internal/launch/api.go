package launch

import (
	"errors"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/spec"
)

// Worker is what Command needs to know of one worker.
type Worker struct {
	App              spec.App
	Environ          []string // Spec.Environ
	Dir              string   // resolved, see ResolveDir
	Slot, Generation int
	Release, ID      string
	Node             string
	NotifySocket     string        // path; "": none
	Watchdog         time.Duration // WATCHDOG_USEC; 0: none
}

func ResolveDir(app spec.App) (string, error)                 { return "", errors.New("not yet") }
func Command(w Worker) (process.Command, error)               { return process.Command{}, errors.New("not yet") }
func Expand(s string, app spec.App, slot int) (string, error) { return s, nil }

// Hint is what is known of a program.
type Hint struct {
	Program    string
	StopSignal string
	Warning    string
}

func Hints(argv []string) Hint                     { return Hint{} }
func StopSignal(app spec.App) string               { return "SIGTERM" }
func Wrapper(argv []string) (name string, ok bool) { return "", false }
func Advise(app spec.App) []fault.Fault            { return nil }
