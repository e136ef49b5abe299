package rig

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Releases are directories of which the symlink "current" names one, as a
// deployment tool would keep them.
type Releases struct {
	p    *Project
	from string // the directory that each release is a copy of
	n    int
	// always is replaced in every release.
	always map[string]string
}

// Releases prepares release 1 from a directory and makes it current.
func (p *Project) Releases(from string) *Releases {
	p.t.Helper()
	r := &Releases{p: p, from: from, always: map[string]string{}}
	r.Next(nil)
	return r
}

// Always replaces a file in every release from now on.
func (r *Releases) Always(name, text string) { r.always[name] = text }

// Next makes a new release, with some files replaced, and points current at it.
// A file of which the text is "" is removed. The digit in the file RELEASE is
// the number of the release, which Next returns.
func (r *Releases) Next(change map[string]string) string {
	r.p.t.Helper()
	r.n++
	dir := filepath.Join(r.p.Dir, "releases", fmt.Sprint(r.n))
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		r.p.t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(r.from)); err != nil {
		r.p.t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(r.from, "RELEASE"))
	if err != nil && !os.IsNotExist(err) {
		r.p.t.Fatal(err)
	}
	if err == nil {
		r.write(dir, "RELEASE", strings.Replace(string(text), "1", fmt.Sprint(r.n), 1))
	}
	for name, text := range r.always {
		r.write(dir, name, text)
	}
	for name, text := range change {
		r.write(dir, name, text)
	}
	r.point(dir)
	return fmt.Sprint(r.n)
}

func (r *Releases) write(dir, name, text string) {
	r.p.t.Helper()
	path := filepath.Join(dir, name)
	if text == "" {
		_ = os.Remove(path)
		return
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		r.p.t.Fatal(err)
	}
}

// point swaps the symlink in one step.
func (r *Releases) point(dir string) {
	r.p.t.Helper()
	current := filepath.Join(r.p.Dir, "current")
	if err := os.Symlink(dir, current+".new"); err != nil {
		r.p.t.Fatal(err)
	}
	if err := os.Rename(current+".new", current); err != nil {
		r.p.t.Fatal(err)
	}
}
