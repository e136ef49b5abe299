package saved

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

func shop(workers ...int) spec.Spec {
	s := spec.Spec{Project: "shop", File: "/srv/shop/muster.yaml", Control: spec.Control{Mode: 0o600}, Environ: []string{"PATH=/bin", "TOKEN=secret"}}
	for i, n := range workers {
		app := spec.DefaultApp(string(rune('a' + i)))
		app.Command, app.Dir, app.Workers = []string{"sleep", "1000"}, "/srv/shop", n
		s.Apps = append(s.Apps, app)
	}
	return s
}

func open(t *testing.T, dir string) *Book {
	t.Helper()
	b, damage := Open(Options{Dir: dir, Version: "v1", Home: "/srv/shop"})
	if damage != nil {
		t.Fatal(damage)
	}
	return b
}

func keep(t *testing.T, b *Book, s spec.Spec, stopped ...string) {
	t.Helper()
	if err := b.Keep(s, stopped); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, dir string) Project {
	t.Helper()
	p, damage, err := Load(dir)
	if err != nil || damage != nil {
		t.Fatal(damage, err)
	}
	return p
}

func sizesOf(s spec.Spec) []int {
	var list []int
	for _, app := range s.Apps {
		list = append(list, app.Workers)
	}
	return list
}

func TestKeptAndReadBack(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	b.Applied(shop(2, 3))
	keep(t, b, shop(4, 3), "b", "a")
	p := load(t, dir)
	want := shop(4, 3)
	want.Environ = nil // there is a file: the caller's environment is not ours to keep
	if diff := cmp.Diff(want, p.Spec); diff != "" {
		t.Error(diff)
	}
	if p.Dir != "/srv/shop" || p.Version != "v1" || p.SavedAt.IsZero() || p.Ended || p.Boot ||
		!slices.Equal(p.Stopped, []string{"a", "b"}) {
		t.Errorf("%+v", p)
	}
	info, err := os.Stat(Path(dir))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
}

// What an operator expects after a reboot.
func TestResume(t *testing.T) {
	for _, tc := range []struct {
		name    string
		applied []int // what the file said
		ran     []int
		stopped []string
		now     []int // what the file says at the start
		want    []int
		still   []string
	}{
		{"nothing was changed", []int{2, 3}, []int{2, 3}, nil, []int{2, 3}, []int{2, 3}, nil},
		{"scaled by hand", []int{2, 3}, []int{8, 3}, nil, []int{2, 3}, []int{8, 3}, nil},
		{"the file has another number meanwhile", []int{2, 3}, []int{8, 3}, nil, []int{4, 3}, []int{4, 3}, nil},
		{"one stopped by hand", []int{2, 3}, []int{2, 3}, []string{"b"}, []int{2, 3}, []int{2, 3}, []string{"b"}},
		{"the stopped one was removed from the file", []int{2, 3}, []int{2, 3}, []string{"b"}, []int{2}, []int{2}, nil},
		{"a new app in the file", []int{2}, []int{5}, nil, []int{2, 1}, []int{5, 1}, nil},
		{"scaled to nothing", []int{2}, []int{0}, nil, []int{2}, []int{0}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			b := open(t, dir)
			b.Applied(shop(tc.applied...))
			keep(t, b, shop(tc.ran...), tc.stopped...)
			file := shop(tc.now...)
			now, stopped := open(t, dir).Resume(file)
			if !slices.Equal(sizesOf(now), tc.want) || !slices.Equal(stopped, tc.still) {
				t.Errorf("%v, stopped %v", sizesOf(now), stopped)
			}
			if !slices.Equal(sizesOf(file), tc.now) {
				t.Error("the caller's spec was changed")
			}
			if diff := cmp.Diff(file.Environ, now.Environ); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A second reboot, and one after more scaling, must do the same: what counts is
// the number in the file, not the one that was resumed with.
func TestResumeAgain(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	b.Applied(shop(2))
	keep(t, b, shop(4))
	for _, size := range []int{4, 6, 3} {
		b = open(t, dir) // the next boot
		file := shop(2)
		now, _ := b.Resume(file)
		b.Applied(file)
		keep(t, b, now)
		keep(t, open(t, dir), shop(size)) // the next agent of the same run scales
	}
	if now, _ := open(t, dir).Resume(shop(2)); now.Apps[0].Workers != 3 {
		t.Error(now.Apps[0].Workers)
	}
}

// Sizes that the rest of the file does not allow any more are not kept.
func TestSizesThatDoNotFit(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	b.Applied(shop(1))
	keep(t, b, shop(4))
	file := shop(1)
	file.Apps[0].Stdin = "inherit" // one worker only
	if len(file.Validate()) != 0 {
		t.Fatal(file.Validate())
	}
	if now, _ := open(t, dir).Resume(file); now.Apps[0].Workers != 1 {
		t.Error(now.Apps[0].Workers)
	}
}

func TestNothingSaved(t *testing.T) {
	dir := t.TempDir()
	if _, damage, err := Load(dir); damage != nil || !errors.Is(err, fs.ErrNotExist) || fault.CodeOf(err) != fault.Saved {
		t.Error(damage, err)
	}
	now, stopped := open(t, dir).Resume(shop(2))
	if diff := cmp.Diff(shop(2), now); diff != "" || stopped != nil {
		t.Error(diff, stopped)
	}
	if err := open(t, dir).End(true); err != nil { // an agent that never came to run anything
		t.Error(err)
	}
	if _, err := os.Stat(Path(dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// Of `muster run` nothing is written unless it was asked for; then all, with the
// environment.
func TestWithoutFile(t *testing.T) {
	dir := t.TempDir()
	run := shop(2)
	run.File = ""
	b := open(t, dir)
	b.Applied(run)
	keep(t, b, run)
	if left, _ := filepath.Glob(dir + "/*.json*"); len(left) > 0 {
		t.Fatal(left)
	}
	if err := Update(dir, func(p *Project) bool { p.Boot, p.Spec, p.Dir = true, run, "/srv/shop"; return true }); err != nil {
		t.Fatal(err)
	}
	run.Apps[0].Workers = 5
	keep(t, b, run, "a")
	p := load(t, dir)
	if !p.Boot || p.Spec.Apps[0].Workers != 5 || !slices.Equal(p.Spec.Environ, run.Environ) || !slices.Equal(p.Stopped, []string{"a"}) {
		t.Errorf("%+v", p)
	}
}

func TestEnd(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	b.Applied(shop(2))
	keep(t, b, shop(2))
	if err := b.End(true); err != nil || !load(t, dir).Ended {
		t.Error(err)
	}
	keep(t, b, shop(0), "a") // what stops at the end was not stopped by hand
	if p := load(t, dir); p.Spec.Apps[0].Workers != 2 || p.Stopped != nil {
		t.Errorf("%+v", p)
	}
	keep(t, open(t, dir), shop(2))
	if load(t, dir).Ended {
		t.Error("still ended after the next start")
	}
}

// The same again is no reason to write.
func TestUnchanged(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	b.Applied(shop(2))
	keep(t, b, shop(2))
	before, _ := os.Stat(Path(dir))
	keep(t, b, shop(2))
	if after, _ := os.Stat(Path(dir)); !os.SameFile(before, after) {
		t.Error("written again")
	}
	secret := shop(2)
	secret.Apps[0].Env = map[string]string{"PASSWORD": "other"}
	keep(t, b, secret)
	if after, _ := os.Stat(Path(dir)); os.SameFile(before, after) {
		t.Error("a change was not written")
	}
}

func TestDamaged(t *testing.T) {
	damages := map[string]func([]byte) []byte{
		"empty":     func([]byte) []byte { return nil },
		"truncated": func(b []byte) []byte { return b[:len(b)/2] },
		"one bit":   func(b []byte) []byte { return bytes.Replace(b, []byte(`sleep`), []byte(`slEep`), 1) },
		"zeros":     func(b []byte) []byte { return make([]byte, len(b)) },
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			b := open(t, dir)
			b.Applied(shop(2))
			keep(t, b, shop(3))
			keep(t, b, shop(4))
			ruin(t, Path(dir), damage)
			p, told, err := Load(dir)
			if err != nil || p.Spec.Apps[0].Workers != 3 {
				t.Fatalf("%v, %+v", err, p)
			}
			if told == nil || told.Code != fault.Saved || !strings.Contains(told.Where, Path(dir)) || !strings.Contains(told.Fix, "the version before") {
				t.Errorf("%+v", told)
			}
			keep(t, b, shop(5)) // the good one stays behind
			ruin(t, Path(dir), damage)
			if p, _, err := Load(dir); err != nil || p.Spec.Apps[0].Workers != 3 {
				t.Errorf("%v, %+v", err, p)
			}
			ruin(t, Path(dir)+".old", damage)
			if _, _, err := Load(dir); fault.CodeOf(err) != fault.Saved || fault.From(err).Fix == "" {
				t.Error("both are damaged:", err)
			}
			keep(t, b, shop(6))
			if p := load(t, dir); p.Spec.Apps[0].Workers != 6 {
				t.Errorf("%+v", p)
			}
		})
	}
}

func ruin(t *testing.T, path string, damage func([]byte) []byte) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, damage(text), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Somebody, or a repair of the file system, has removed the file.
func TestOnlyTheOldVersion(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	keep(t, b, shop(3))
	keep(t, b, shop(4))
	if err := os.Remove(Path(dir)); err != nil {
		t.Fatal(err)
	}
	p, damage, err := Load(dir)
	if err != nil || damage == nil || p.Spec.Apps[0].Workers != 3 {
		t.Errorf("%+v, %v, %v", p, damage, err)
	}
}

func TestLaterFormat(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(Path(dir), []byte(`{"format":99,"sha256":"","saved":{}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := Load(dir)
	if fault.CodeOf(err) != fault.Saved || !strings.Contains(err.Error(), "later release") {
		t.Error(err)
	}
}

// TestDiskFull uses a real small file system: what was saved stands.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal("this test needs root:", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	b := open(t, dir)
	b.Applied(shop(2))
	keep(t, b, shop(2))
	big := shop(2)
	big.Apps[0].Env = map[string]string{"BIG": strings.Repeat("x", 100<<10)}
	err := b.Keep(big, nil)
	if fault.CodeOf(err) != fault.Saved || !errors.Is(err, syscall.ENOSPC) || fault.From(err).Fix == "" {
		t.Fatal(err)
	}
	if p := load(t, dir); p.Spec.Apps[0].Env != nil {
		t.Error("what was saved before is gone")
	}
	if _, err := os.Stat(filepath.Join(dir, newName)); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a part of the new version was left:", err)
	}
	if err := syscall.Mount("", dir, "tmpfs", syscall.MS_REMOUNT, "size=4m"); err != nil {
		t.Fatal(err)
	}
	keep(t, b, big)
	if p := load(t, dir); len(p.Spec.Apps[0].Env["BIG"]) != 100<<10 {
		t.Error("not saved once there was room again")
	}
}

func TestDirectoryGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	b := open(t, dir)
	if err := b.Keep(shop(1), nil); fault.CodeOf(err) != fault.Saved {
		t.Error(err)
	}
	if err := Remove(dir); fault.CodeOf(err) != fault.Saved {
		t.Error(err)
	}
}

func TestRemove(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	keep(t, b, shop(1))
	keep(t, b, shop(2))
	for range 2 {
		if err := Remove(dir); err != nil {
			t.Fatal(err)
		}
	}
	if left, _ := filepath.Glob(dir + "/*.json*"); len(left) > 0 {
		t.Error(left)
	}
}

// The agent and `muster save` write at the same time: neither loses what the
// other has noted, and a reader never sees half a file.
func TestTogether(t *testing.T) {
	dir := t.TempDir()
	keep(t, open(t, dir), shop(1))
	const each = 20
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range each {
				if err := Update(dir, func(p *Project) bool {
					p.Stopped = append(p.Stopped, fmt.Sprint(w, "-", i))
					return true
				}); err != nil {
					t.Error(err)
				}
				if _, damage, err := Load(dir); err != nil || damage != nil {
					t.Error(damage, err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(load(t, dir).Stopped); n != 4*each {
		t.Errorf("%d of %d notes", n, 4*each)
	}
}

// Whatever stands in the file, reading it is a project or a fault.
func FuzzDecode(f *testing.F) {
	text, err := encode(Project{Spec: shop(2), Dir: "/srv", Stopped: []string{"a"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"format":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decode("saved.json", b)
		if err != nil {
			if fault.CodeOf(err) != fault.Saved {
				t.Error(err)
			}
			return
		}
		again, err := encode(p)
		if err != nil || !json.Valid(again) {
			t.Error(err)
		}
	})
}
