package saved

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
)

// The files in a project's state directory.
const (
	name     = "saved.json"
	oldName  = "saved.json.old"
	newName  = "saved.json.new"
	lockName = "saved.lock"
)

// sizeMax bounds what is read: a spec of a thousand apps has a few megabytes.
const sizeMax = 64 << 20

// format is written into the file; a file of a later one is not understood.
const format = 1

// paper is the form of the file.
type paper struct {
	Format int             `json:"format"`
	Sum    string          `json:"sha256"` // of Saved
	Saved  json.RawMessage `json:"saved"`
}

// Path is the file of the project with that state directory.
func Path(dir string) string { return filepath.Join(dir, name) }

// Load reads what was saved in a project's state directory. Where the file is
// damaged the version before it is returned, and damage says so. The error wraps
// fs.ErrNotExist when nothing was saved; else it is E-SAVED.
func Load(dir string) (p Project, damage *fault.Fault, err error) {
	p, err = read(filepath.Join(dir, name))
	if err == nil {
		return p, nil, nil
	}
	old, oldErr := read(filepath.Join(dir, oldName))
	if oldErr != nil {
		return p, nil, err
	}
	damage = fault.From(err)
	if errors.Is(err, fs.ErrNotExist) {
		damage = fault.New(fault.Saved, "the file is missing").At(Path(dir))
	}
	return old, damage.WithFix("the version before it is used, saved at " + old.SavedAt.Format("2006-01-02 15:04:05 MST") +
		": look whether sizes and stopped apps are as you want them"), nil
}

// Listed is one project of a List.
type Listed struct {
	Key string // names its state directory
	Project
	// Damage is what Load said of it.
	Damage *fault.Fault
}

// List reads what was saved of every project below a root of state directories,
// sorted by key. What cannot be read at all is left out.
func List(root string) []Listed {
	dirs, _ := os.ReadDir(root)
	var list []Listed
	for _, d := range dirs {
		if p, damage, err := Load(filepath.Join(root, d.Name())); err == nil {
			list = append(list, Listed{d.Name(), p, damage})
		}
	}
	return list
}

func read(path string) (p Project, err error) {
	f, err := os.Open(path)
	if err != nil {
		return p, unreadable(path, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, sizeMax))
	if err != nil {
		return p, unreadable(path, err)
	}
	return decode(path, text)
}

func unreadable(path string, err error) *fault.Fault {
	return fault.New(fault.Saved, "what was saved cannot be read: %w", err).At(path)
}

func decode(path string, text []byte) (p Project, err error) {
	damaged := func(why string) error {
		return fault.New(fault.Saved, "the file is damaged (%s)", why).At(path).
			WithFix("remove it; `muster up` starts what the configuration says and saves anew")
	}
	var sheet paper
	if err := json.Unmarshal(text, &sheet); err != nil {
		return p, damaged(err.Error())
	}
	if sheet.Format > format {
		return p, fault.New(fault.Saved, "the file is of a later release of muster (format %d)", sheet.Format).At(path).
			WithFix("install that release again, or remove the file")
	}
	if sheet.Sum != sum(sheet.Saved) {
		return p, damaged("its checksum is wrong")
	}
	if err := json.Unmarshal(sheet.Saved, &p); err != nil {
		return p, damaged(err.Error())
	}
	return p, nil
}

func encode(p Project) ([]byte, error) {
	inner, err := json.Marshal(p)
	if err != nil {
		return nil, fault.New(fault.Internal, "cannot encode what runs: %w", err)
	}
	text, err := json.Marshal(paper{Format: format, Sum: sum(inner), Saved: inner})
	if err != nil {
		return nil, fault.New(fault.Internal, "cannot encode what runs: %w", err)
	}
	return append(text, '\n'), nil
}

func sum(b []byte) string {
	h := sha256.Sum256(bytes.TrimSpace(b))
	return hex.EncodeToString(h[:])
}

// Update changes what is saved in a project's state directory, in one step, and
// excludes other writers meanwhile. change gets the present content, a zero
// Project when there is none or it cannot be read; false from it: nothing is
// written. Fault: E-SAVED; the file is then as it was.
func Update(dir string, change func(*Project) bool) error {
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	p, _, err := Load(dir)
	if err != nil {
		p = Project{}
	}
	if !change(&p) {
		return nil
	}
	text, err := encode(p)
	if err != nil {
		return err
	}
	if err := replace(dir, text); err != nil {
		return fault.New(fault.Saved, "what runs cannot be saved: %w", err).At(Path(dir)).
			WithFix("free space, or correct the owner and mode of " + dir)
	}
	return nil
}

// Remove forgets what was saved. It is no error when nothing was.
func Remove(dir string) error {
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	for _, n := range []string{oldName, newName, name} {
		if err := os.Remove(filepath.Join(dir, n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fault.New(fault.Saved, "what was saved cannot be removed: %w", err)
		}
	}
	return syncDir(dir)
}

// lock excludes other writers, until the function is called.
func lock(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fault.New(fault.Saved, "what runs cannot be saved: %w", err).At(Path(dir))
	}
	whole := &unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	for {
		err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLKW, whole)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fault.New(fault.Saved, "what runs cannot be saved: %w", err).At(Path(dir))
		}
	}
}

// replace puts the text in the place of the file, whose version before stays
// beside it.
func replace(dir string, text []byte) error {
	place, next, old := filepath.Join(dir, name), filepath.Join(dir, newName), filepath.Join(dir, oldName)
	if err := writeSynced(next, text); err != nil {
		_ = os.Remove(next)
		return err
	}
	if _, err := read(place); err == nil { // a damaged one must not take the place of a good one
		_ = os.Remove(old)
		_ = os.Link(place, old)
	}
	if err := os.Rename(next, place); err != nil {
		_ = os.Remove(next)
		return err
	}
	return syncDir(dir)
}

func writeSynced(path string, text []byte) error {
	_ = os.Remove(path) // left by a writer that was killed, perhaps with another mode
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
