package human

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/api"
)

// End is how an app whose workers have all ended by themselves came to its end.
type End struct {
	At   time.Time
	Code int // exit code, or 128+signal
}

// Ended is the end of the last of some workers, or of the first. A worker that
// was never started has no exit (nil), and counts as code 1 now.
func Ended(exits []*api.Exit, first bool) *End {
	var result *End
	for _, exit := range exits {
		e := End{At: time.Now(), Code: 1}
		if exit != nil {
			e = End{At: exit.Time, Code: status(*exit)}
		}
		if result == nil || first == e.At.Before(result.At) {
			result = &e
		}
	}
	return result
}

// status is the exit code a shell would show.
func status(e api.Exit) int {
	if e.Signal != "" {
		return 128 + int(unix.SignalNum(e.Signal))
	}
	return e.Code
}
