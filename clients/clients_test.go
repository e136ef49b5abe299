// Package clients tests the ends of operations for other languages with the real
// interpreters: clients/node and clients/python are programs of their own.
package clients

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestNode(t *testing.T) {
	modules, err := exec.Command("../scripts/test-node.sh").Output()
	if err != nil {
		t.Fatalf("the releases of Node.js cannot be installed: %v", err)
	}
	tests, err := filepath.Glob("node/test/*.test.js")
	if err != nil || len(tests) == 0 {
		t.Fatalf("no tests (%v)", err)
	}
	for _, major := range []string{"20", "22", "24", "26"} {
		node := filepath.Join(strings.TrimSpace(string(modules)), "node"+major, "bin", "node")
		t.Run(major, func(t *testing.T) {
			t.Parallel()
			run(t, ".", node, append([]string{"--test"}, tests...)...)
		})
	}
}

func TestPython(t *testing.T) {
	t.Parallel()
	run(t, "python/tests", "python3", "-W", "error", "-m", "unittest", "-q", "test_wire", "test_process")
}

// run runs the tests of another language. What they print is shown if they fail.
func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, failures(string(out)))
	}
}

// failures are the lines of the output without those about what went well.
func failures(out string) string {
	var kept []string
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "ok ") && !strings.HasPrefix(line, "# Subtest") && !strings.HasPrefix(line, "✔") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}
