package output

import (
	"context"
	"os"
	"regexp"
	"time"

	"github.com/muster-run/muster/fault"
)

// stampForm is the end of a rotated file's name: when it was rotated (UTC).
const stampForm = "20060102T150405.000000000Z"

var stampPattern = regexp.MustCompile(`^\d{8}T\d{6}\.\d{9}Z$`)

// archive compresses and deletes the rotated files of one log, in a goroutine
// that close ends.
type archive struct {
	path    string
	packing Packing // nil: none
	keep    int     // rotated files; -1: all
	warn    func(*fault.Fault)
	kick    chan struct{}
	cancel  context.CancelFunc
	gone    chan struct{}
}

// newArchive also finishes what an earlier agent has begun. files counts the
// current file too; 0: no limit.
func newArchive(path string, packing Packing, files int, warn func(*fault.Fault)) *archive {
	ctx, cancel := context.WithCancel(context.Background())
	a := &archive{
		path: path, packing: packing, keep: files - 1, warn: warn,
		kick: make(chan struct{}, 1), cancel: cancel, gone: newDone(),
	}
	go a.run(ctx)
	return a
}

func (a *archive) run(ctx context.Context) {
	defer close(a.gone)
	for {
		a.pass(ctx)
		select {
		case <-a.kick:
		case <-ctx.Done():
			return
		}
	}
}

func (a *archive) close() {
	a.cancel()
	<-a.gone
}

// tidy starts compressing and deleting.
func (a *archive) tidy() {
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

// take moves the log file into the archive; its name sorts after all others.
func (a *archive) take(path string) error {
	at := time.Now()
	if old := backups(path, a.packing); len(old) > 0 {
		if last := old[len(old)-1].at; !at.After(last) {
			at = last.Add(1)
		}
	}
	return os.Rename(path, path+"-"+at.UTC().Format(stampForm))
}

// pass deletes what is too old, then compresses what is not yet.
func (a *archive) pass(ctx context.Context) {
	old := backups(a.path, a.packing)
	for a.keep >= 0 && len(old) > a.keep {
		if err := old[0].remove(); err != nil {
			a.warn(fault.New(fault.LogWrite, "an old log cannot be deleted: %w", err))
		}
		old = old[1:]
	}
	for _, b := range old {
		err := b.pack(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			a.warn(fault.New(fault.LogWrite, "a log cannot be compressed: %w", err))
			return
		}
	}
}
