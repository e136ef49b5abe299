package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/muster-run/muster/fault"
)

func TestExpand(t *testing.T) {
	v := &variables{environ: map[string]string{"A": "env", "EMPTY": "", "IN": "${A}"}, dotenv: map[string]string{"A": "dot", "B": "dot"}}
	for text, want := range map[string]string{
		"": "", "plain": "plain", "${A}": "env", "x${A}y${B}z": "xenvydotz", "${EMPTY}": "", "${EMPTY:-d}": "d", "${N:-d}": "d", "${N:-}": "",
		"${N:-a:-b}": "a:-b", "$$": "$", "$${A}": "${A}", "$$$${A}": "$${A}", "$A": "$A", "a$": "a$", "$(x)": "$(x)", "${IN}": "${A}", "${N:-$A}": "$A",
		"${N:-{{port:x}}}": "{{port:x}}",
	} {
		if got, _, bad := v.expand(text); bad != nil || got != want {
			t.Errorf("%q gives %q, want %q (%v)", text, got, want, bad)
		}
	}
	for text, from := range map[string]string{"${A}${B}": "${A} from environment, ${B} from .env", "${N:-x}": "${N} by default", "$$": ""} {
		if _, got, _ := v.expand(text); got != from {
			t.Errorf("%q is from %q, want %q", text, got, from)
		}
	}
	for _, text := range []string{"${", "${}", "${A", "${1}", "${A-B}", "${A:+B}", "${A B}", "${N}"} {
		if got, _, bad := v.expand(text); bad == nil || bad.text == "" || bad.fix == "" {
			t.Errorf("%q gives %q", text, got)
		}
	}
}

func TestEscape(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.SampledFrom([]rune("${}A:-x"))).Draw(t, "text")
		got, _, bad := (&variables{}).expand(escape(text))
		if bad != nil || got != text {
			t.Fatalf("%q is written %q, which is %q (%v)", text, escape(text), got, bad)
		}
	})
}

func TestEnvFile(t *testing.T) {
	var bad []string
	got := parseEnvFile("\ufeff# comment\r\n\n  A=1\nexport B = two words # c\nC=\"a\\nb \\\"q\\\" \\\\ \\$x # y\" # c\nD='a\\n\"'\nE=\nF=\"two\nlines\"\n"+
		"G=a#b\nH=#c\nI= x=y\nno line\nJ='x'y\n=v\nK L=1\nM=${A}\nA=again\nO=\xff\nN='open\n", func(line int, text, fix string) {
		bad = append(bad, fmt.Sprintf("%d %s", line, text))
	})
	want := []assignment{
		{"A", "1", 3},
		{"B", "two words", 4},
		{"C", "a\nb \"q\" \\ $x # y", 5},
		{"D", `a\n"`, 6},
		{"E", "", 7},
		{"F", "two\nlines", 8},
		{"G", "a#b", 10},
		{"H", "", 11},
		{"I", "x=y", 12},
		{"M", "${A}", 17},
		{"A", "again", 18},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	wrong := []string{
		"13 the line is not of the form NAME=value", "14 the line is not of the form NAME=value", "15 the line is not of the form NAME=value",
		"16 the line is not of the form NAME=value", "19 the line is not UTF-8 text", "20 the quote of N is not closed",
	}
	if !slices.Equal(bad, wrong) {
		t.Errorf("%q, want %q", bad, wrong)
	}
}

func FuzzEnvFile(f *testing.F) {
	f.Add("A=1\nB='x\ny'\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, a := range parseEnvFile(text, func(line int, text, _ string) {
			if line < 1 || text == "" {
				t.Fatal(line, text)
			}
		}) {
			if a.name == "" || strings.ContainsAny(a.name+a.value, "\x00") || a.line < 1 {
				t.Fatalf("%+v", a)
			}
		}
	})
}

// The app's env wins over its env_file, and both over the defaults.
func TestEnvOrder(t *testing.T) {
	l := good(t, `version: 1
defaults:
  env_file: [d.env]
  env: {A: denv, B: denv, C: denv}
apps:
  web:
    env: {A: env}
    command: x
    env_file: [a.env, b.env, "?none.env"]
`, "d.env", "A=dfile\nB=dfile\nC=dfile\nD=dfile\n", "a.env", "A=file\nB=file\nE=first\n", "b.env", "E=second\n")
	got := l.Spec.Apps[0].Env
	for name, want := range map[string]string{"A": "env", "B": "file", "C": "denv", "D": "dfile", "E": "second"} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
}

func TestEnvFileProblems(t *testing.T) {
	_, err := load(t, "version: 1\ndefaults: {env_file: nope.env}\napps: {a: {command: a, env_file: bad.env}, b: {command: b, env_file: bad.env}}\n",
		"bad.env", "A=1\nB\n", ".env", "X\n")
	got := strings.Join(lines(t, err), "\n")
	for _, want := range []string{
		".env:1:1: the line is not of the form NAME=value; write NAME=value, or # before a comment",
		"bad.env:2:1: the line is not of the form NAME=value",
		"muster.yaml:2:22: defaults.env_file: cannot read ", "nope.env: no such file or directory; create it, or write ?nope.env",
	} {
		if strings.Count(got, want) != 1 {
			t.Errorf("want once %s in\n%s", want, got)
		}
	}
	if n := len(lines(t, err)); n != 3 {
		t.Errorf("%d problems:\n%s", n, got)
	}
}

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
