package house

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

var reflectMethod = regexp.MustCompile(`(?m)^(\S+) <ReflectMethod>`)

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
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %.2000s", err, out)
	}
	seen := map[string]bool{}
	var names []string
	for _, m := range reflectMethod.FindAllSubmatch(out, -1) {
		if name := string(m[1]); !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names
}

// The check above would pass for ever if the linker changed its words.
func TestDeadCodeCheckSeesATemplate(t *testing.T) {
	if got := reflectMethods(t, "./internal/house/testdata/template"); len(got) == 0 {
		t.Error("a program that executes a template was not noticed")
	}
}
