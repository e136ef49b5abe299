package house

import (
	"bufio"
	"bytes"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	maxFileBytes   = 1 << 20
	maxBinaryBytes = 28e6
)

func TestFilesAreSmall(t *testing.T) {
	err := fs.WalkDir(os.DirFS(root), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() != "testdata" && d.Name() != "tools" && skipped(d.Name()) {
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if d.Type().IsRegular() && info.Size() > maxFileBytes && info.Mode()&0o111 == 0 {
			t.Errorf("%s has %d bytes, the limit is %d", p, info.Size(), maxFileBytes)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFrame(t *testing.T) {
	for _, name := range []string{"README.md", "LICENSE", "CHANGELOG.md", "docs/ARCHITECTURE.md", "Makefile"} {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil || len(strings.TrimSpace(string(text))) < 100 {
			t.Errorf("%s is missing or nearly empty (%v)", name, err)
		}
	}
	for _, name := range []string{".ci/run", "scripts/test-deps.sh"} {
		info, err := os.Stat(filepath.Join(root, name))
		if err != nil || info.Mode()&0o111 == 0 {
			t.Errorf("%s is missing or cannot be executed (%v)", name, err)
		}
	}
}

func TestGofumpt(t *testing.T) {
	out := command(t, "go", "tool", "-modfile="+filepath.Join("tools", "go.mod"), "gofumpt", "-l", ".")
	if text := strings.TrimSpace(out); text != "" {
		t.Errorf("not formatted (make fmt):\n%s", text)
	}
}

// command runs a program at the root of the tree and returns its stdout.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, errs.String())
	}
	return string(out)
}

func TestBinarySize(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "muster")
	command(t, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, "./cmd/muster")
	info, err := os.Stat(bin)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the binary has %.1f MB", float64(info.Size())/1e6)
	if info.Size() > maxBinaryBytes {
		t.Errorf("the binary has %.1f MB, the limit is %.0f", float64(info.Size())/1e6, maxBinaryBytes/1e6)
	}
}

// One reachable function that looks up methods by name (text/template's
// Execute, for one) makes the linker keep every exported method of every type:
// 10 MB more. The linker marks such functions when it dumps its dependencies.
func TestDeadCodeElimination(t *testing.T) {
	if bad := reflectMethods(t, "./cmd/muster"); len(bad) > 0 {
		t.Errorf("dead-code elimination is switched off by %s", strings.Join(bad, ", "))
	}
}

func reflectMethods(t *testing.T, pkg string) []string {
	t.Helper()
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-dumpdep", "-o", filepath.Join(t.TempDir(), "bin"), pkg)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdout, cmd.Stderr = w, w
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	names, first := marked(r)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, first)
	}
	return names
}

// marked reads what the linker dumps, megabytes: the marked functions, and how the text
// begins.
func marked(dump io.Reader) (names []string, first []byte) {
	in := bufio.NewReaderSize(dump, 1<<20)
	for {
		line, err := in.ReadSlice('\n') // one that is too long comes in parts
		if len(first) < 2000 {
			first = append(first, line...)
		}
		if name, ok := cutMark(line); ok && !slices.Contains(names, string(name)) {
			names = append(names, string(name))
		}
		if err != nil && err != bufio.ErrBufferFull {
			return names, first
		}
	}
}

// cutMark is the function that begins a line, if it is marked.
func cutMark(line []byte) (name []byte, ok bool) {
	name, _, ok = bytes.Cut(line, []byte(" <ReflectMethod>"))
	return name, ok && !bytes.ContainsRune(name, ' ')
}

// The check above would pass for ever if the linker changed its words.
func TestDeadCodeCheckSeesATemplate(t *testing.T) {
	if got := reflectMethods(t, "./internal/house/testdata/template"); len(got) == 0 {
		t.Error("a program that executes a template was not noticed")
	}
}
