package show

import (
	"encoding/json"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
)

// Records prints the output of workers. Not safe for concurrent use.
type Records struct {
	// Out is where they go, Err where is told what is missing.
	Out, Err *Printer
	JSON     bool

	apps  []string // in order of appearance, for the colours
	width int
}

// Print prints one record.
func (v *Records) Print(r api.Record) error {
	if v.JSON {
		text, err := json.Marshal(r)
		if err != nil {
			return fault.New(fault.Internal, "cannot print a record: %w", err)
		}
		_, err = v.Out.Write(append(text, '\n'))
		return err
	}
	if r.Lost > 0 {
		v.Err.Line("%s", v.Err.Paint(Yellow, Count(r.Lost, "line")+" lost: this reader was too slow"))
	}
	_, err := v.Out.Write([]byte(v.prefix(r) + r.Line + Reset(v.Out, r.Line) + "\n"))
	return err
}

// prefix is "web#0 | ", coloured by app and padded to the longest so far.
func (v *Records) prefix(r api.Record) string {
	name := r.App
	if r.Slot >= 0 {
		name = WorkerName(r.App, r.Slot)
	}
	v.width = max(v.width, len(name))
	return Speaker(v.Out, name, v.colour(r.App), v.width)
}

func (v *Records) colour(app string) Ink {
	for i, known := range v.apps {
		if known == app {
			return AppInk(app, v.apps[:i+1])
		}
	}
	v.apps = append(v.apps, app)
	return AppInk(app, v.apps)
}
