package output

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Packing is the form in which rotated files are kept. It is injected, as what this
// package is part of must not always depend on the same one: package zst has the
// agent's, package gz one of the standard library alone. Safe for concurrent use.
type Packing interface {
	// Suffix of a packed file's name, such as ".zst".
	Suffix() string
	// Pack writes all of src to dst in this form.
	Pack(dst io.Writer, src io.Reader) error
	// Unpack reads what Pack has written, in bounded memory. The caller closes what it
	// returns, and src.
	Unpack(src io.Reader) (io.ReadCloser, error)
}

// unfinish is behind the suffix of a file that is being written.
const unfinish = ".tmp"

// backup is a rotated file; it is at path, or packed, at packed().
type backup struct {
	path    string
	at      time.Time // when it was rotated
	packing Packing   // nil: they are not packed
}

// packed is where the packed form is; "": there is none.
func (b backup) packed() string {
	if b.packing == nil {
		return ""
	}
	return b.path + b.packing.Suffix()
}

// backups lists the rotated files of a log, oldest first.
func backups(path string, packing Packing) []backup {
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
		if packing != nil {
			stamp = strings.TrimSuffix(stamp, packing.Suffix())
		}
		if !ok || !stampPattern.MatchString(stamp) {
			continue
		}
		at, err := time.Parse(stampForm, stamp)
		if err != nil {
			continue
		}
		list = append(list, backup{path + "-" + stamp, at, packing})
	}
	slices.SortFunc(list, func(a, b backup) int { return a.at.Compare(b.at) })
	return slices.CompactFunc(list, func(a, b backup) bool { return a.path == b.path })
}

// remove deletes it in every form.
func (b backup) remove() error {
	names := []string{b.path}
	if packed := b.packed(); packed != "" {
		names = append(names, packed, packed+unfinish)
	}
	var errs []error
	for _, name := range names {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// pack replaces the file by its packed form. One that is not there is packed already.
func (b backup) pack(ctx context.Context) error {
	packed := b.packed()
	if packed == "" {
		return nil
	}
	src, err := os.Open(b.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer src.Close()
	if _, err := os.Stat(packed); err == nil { // renamed, not yet deleted
		return os.Remove(b.path)
	}
	dst, err := os.OpenFile(packed+unfinish, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err = b.packing.Pack(dst, &endingReader{ctx, src}); err == nil {
		err = dst.Sync()
	}
	if err = errors.Join(err, dst.Close()); err == nil {
		err = os.Rename(packed+unfinish, packed)
	}
	if err != nil {
		return errors.Join(err, os.Remove(packed+unfinish))
	}
	return os.Remove(b.path)
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

// open opens the file in either form.
func (b backup) open() (io.ReadCloser, error) {
	f, err := os.Open(b.path)
	if err == nil || b.packing == nil {
		return f, err
	}
	if f, err = os.Open(b.packed()); err != nil {
		return nil, err
	}
	z, err := b.packing.Unpack(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return unpacking{z, f}, nil
}

type unpacking struct {
	io.ReadCloser
	file *os.File
}

func (u unpacking) Close() error { return errors.Join(u.ReadCloser.Close(), u.file.Close()) }
