package record

import (
	"os"
	"strings"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/output"
	"github.com/muster-run/muster/internal/process"
)

// logPrefix and an app's name is where the Store has the file in which the app's
// log notes what it is about to write.
const logPrefix = "log/"

// LogIntent finds that file, or makes it. The caller closes it.
func LogIntent(store process.Store, app string) (*os.File, error) {
	f, err := store.Get(logPrefix + app)
	if f != nil || err != nil {
		return f, err
	}
	if f, err = output.NewIntent(); err != nil {
		return nil, fault.New(fault.LogWrite, "cannot keep the log's place: %w", err)
	}
	if err := store.Put(logPrefix+app, f); err != nil {
		f.Close()
		return nil, fault.New(fault.LogWrite, "cannot keep the log's place: %w", err)
	}
	return f, nil
}

// DropLogIntents removes those of the apps that gone names.
func DropLogIntents(store process.Store, gone func(app string) bool) {
	for _, name := range store.List() {
		app, ok := strings.CutPrefix(name, logPrefix)
		if !ok || !gone(app) {
			continue
		}
		if f, err := store.Take(name); err == nil && f != nil {
			f.Close()
		}
	}
}
