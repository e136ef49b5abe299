package output

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/muster-run/muster/fault"
)

const (
	// stampForm is the end of a rotated file's name: when it was rotated (UTC).
	stampForm = "20060102T150405.000000000Z"
	packed    = ".zst"
	unfinish  = ".zst.tmp"
)

var stampPattern = regexp.MustCompile(`^\d{8}T\d{6}\.\d{9}Z$`)

// archive compresses and deletes the rotated files of one log, in a goroutine
// that close ends.
type archive struct {
	path   string
	keep   int // rotated files; -1: all
	warn   func(*fault.Fault)
	kick   chan struct{}
	cancel context.CancelFunc
	gone   chan struct{}
}

// newArchive also finishes what an earlier agent has begun. files counts the
// current file too; 0: no limit.
func newArchive(path string, files int, warn func(*fault.Fault)) *archive {
	ctx, cancel := context.WithCancel(context.Background())
	a := &archive{
		path: path, keep: files - 1, warn: warn,
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
	if old := backups(path); len(old) > 0 {
		if last := old[len(old)-1].at; !at.After(last) {
			at = last.Add(1)
		}
	}
	return os.Rename(path, path+"-"+at.UTC().Format(stampForm))
}

// pass deletes what is too old, then compresses what is not yet.
func (a *archive) pass(ctx context.Context) {
	old := backups(a.path)
	for a.keep >= 0 && len(old) > a.keep {
		for _, name := range []string{old[0].path, old[0].path + packed, old[0].path + unfinish} {
			if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				a.warn(fault.New(fault.LogWrite, "an old log cannot be deleted: %w", err))
			}
		}
		old = old[1:]
	}
	for _, b := range old {
		err := pack(ctx, b.path)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			a.warn(fault.New(fault.LogWrite, "a log cannot be compressed: %w", err))
			return
		}
	}
}

// pack replaces a file by its compressed form. A file that is not there is
// compressed already.
func pack(ctx context.Context, path string) error {
	src, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer src.Close()
	if _, err := os.Stat(path + packed); err == nil { // renamed, not yet deleted
		return os.Remove(path)
	}
	dst, err := os.OpenFile(path+unfinish, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(compress(ctx, dst, src), dst.Close())
	if err == nil {
		err = os.Rename(path+unfinish, path+packed)
	}
	if err != nil {
		return errors.Join(err, os.Remove(path+unfinish))
	}
	return os.Remove(path)
}

func compress(ctx context.Context, dst *os.File, src io.Reader) error {
	z, err := zstd.NewWriter(dst, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault))
	if err != nil {
		return err
	}
	_, err = io.Copy(z, &endingReader{ctx, src})
	return errors.Join(err, z.Close(), dst.Sync())
}

// endingReader ends a long copy with its context.
type endingReader struct {
	ctx context.Context
	r   io.Reader
}

func (e *endingReader) Read(b []byte) (int, error) {
	if err := e.ctx.Err(); err != nil {
		return 0, err
	}
	return e.r.Read(b)
}

// backup is a rotated file; it is at path, or compressed at path+packed.
type backup struct {
	path string
	at   time.Time // when it was rotated
}

// backups lists the rotated files of a log, oldest first.
func backups(path string) []backup {
	if path == "" {
		return nil
	}
	dir, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil
	}
	var list []backup
	for _, e := range dir {
		stamp, ok := strings.CutPrefix(e.Name(), filepath.Base(path)+"-")
		stamp = strings.TrimSuffix(stamp, packed)
		if !ok || !stampPattern.MatchString(stamp) {
			continue
		}
		at, err := time.Parse(stampForm, stamp)
		if err != nil {
			continue
		}
		list = append(list, backup{path + "-" + stamp, at})
	}
	slices.SortFunc(list, func(a, b backup) int { return a.at.Compare(b.at) })
	return slices.Compact(list)
}

// open opens the file in either form.
func (b backup) open() (io.ReadCloser, error) {
	f, err := os.Open(b.path)
	if err == nil {
		return f, nil
	}
	f, err = os.Open(b.path + packed)
	if err != nil {
		return nil, err
	}
	z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
	if err != nil {
		f.Close()
		return nil, err
	}
	return unpacking{z, f}, nil
}

type unpacking struct {
	*zstd.Decoder
	file *os.File
}

func (u unpacking) Close() error {
	u.Decoder.Close()
	return u.file.Close()
}
