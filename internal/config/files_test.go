package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-run/muster/fault"
)

func TestSearch(t *testing.T) {
	top := t.TempDir()
	mk := func(path, text string) string {
		file := filepath.Join(top, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	const text = "version: 1\napps: {}\n"
	outside := mk("muster.yaml", text)
	root := mk("repo/muster.yml", text)
	mk("repo/.git/HEAD", "")
	mk("repo/a/b/x", "")
	mk("plain/sub/x", "")
	xdg := mk("xdg/muster/muster.yaml", text)
	named := mk("other.yaml", text)
	both := mk("both/muster.yaml", text)
	mk("both/muster.yml", text)
	env := []string{"XDG_CONFIG_HOME=" + filepath.Join(top, "xdg"), "HOME=" + top}
	for _, c := range []struct {
		o    Options
		want string
		name string
	}{
		{Options{Dir: top}, outside, cleanName(filepath.Base(top), 64, "")},
		{Options{Dir: filepath.Join(top, "repo/a/b")}, root, "repo"},
		{Options{Dir: filepath.Join(top, "both")}, both, "both"},
		{Options{Dir: filepath.Join(top, "plain/sub"), Environ: env}, xdg, "muster"}, // not the one above: nothing says it is ours
		{Options{Dir: filepath.Join(top, "plain/sub"), Path: "../../other.yaml"}, named, cleanName(filepath.Base(top), 64, "")},
		{Options{Dir: filepath.Join(top, "repo"), Environ: []string{"MUSTER_CONFIG=" + named}}, named, cleanName(filepath.Base(top), 64, "")},
		{Options{Dir: filepath.Join(top, "repo"), Path: root, Environ: []string{"MUSTER_CONFIG=/nope"}}, root, "repo"},
	} {
		l, err := Load(c.o)
		if err != nil || l.File != c.want || l.Spec.File != c.want || l.Spec.Project != c.name {
			t.Errorf("%+v: %+v, %v", c.o, l, err)
		}
	}
	_, err := Load(Options{Dir: filepath.Join(top, "plain/sub"), Environ: []string{"HOME=" + filepath.Join(top, "nobody")}})
	if err == nil || fault.ExitCode(err) != 2 || !errors.Is(err, ErrNoFile) {
		t.Fatal(err)
	}
	got := strings.Join(lines(t, err), "\n")
	for _, want := range []string{"plain/sub/muster.yaml", "plain/sub/muster.yml", "nobody/.config/muster/muster.yaml", "/etc/muster/muster.yaml"} {
		if !strings.Contains(got, want) {
			t.Errorf("want %s in\n%s", want, got)
		}
	}
}

// A wrong name from the environment is not blamed on the file.
func TestWrongProjectName(t *testing.T) {
	dir := write(t, map[string]string{"muster.yaml": "version: 1\nname: x\napps: {}\n"})
	_, err := Load(Options{Dir: dir, Environ: []string{"MUSTER_PROJECT=a/b"}})
	if got := lines(t, err); len(got) != 1 || !strings.HasPrefix(got[0], "MUSTER_PROJECT: name: ") {
		t.Error(got)
	}
}

func TestPlaceNames(t *testing.T) {
	for _, c := range []struct{ dir, file, want string }{
		{"/a/b", "/a/b/muster.yaml", "muster.yaml"},
		{"/a/b", "/a/muster.yaml", "../muster.yaml"},
		{"/a/b", "/a/b/c/m.yaml", "c/m.yaml"},
		{"/a/b", "/etc/muster/muster.yaml", "/etc/muster/muster.yaml"},
	} {
		if got := printed(c.dir, c.file); got != c.want {
			t.Errorf("%s from %s is %s, want %s", c.file, c.dir, got, c.want)
		}
	}
}
