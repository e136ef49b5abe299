package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The binaries that Main has built, by the variable that names each.
const (
	musterVar = "RIG_MUSTER"
	propVar   = "RIG_PROP"
	helloVar  = "RIG_HELLO"
	chatVar   = "RIG_CHAT"
	rootVar   = "RIG_ROOT"
)

// Main builds muster (as a release is built), prop and the Go examples, runs
// the tests and returns their exit code.
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "rig")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	root, err := moduleRoot()
	if err != nil {
		return fail(err)
	}
	os.Setenv(rootVar, root)
	for name, pkg := range map[string]string{musterVar: "./cmd/muster", propVar: "./test/prop", helloVar: "./examples/hello", chatVar: "./examples/chat"} {
		bin := filepath.Join(dir, filepath.Base(pkg))
		if err := build(root, bin, pkg); err != nil {
			return fail(err)
		}
		os.Setenv(name, bin)
	}
	return m.Run()
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "rig:", err)
	return 1
}

func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	return filepath.Dir(strings.TrimSpace(string(out))), err
}

func build(root, bin, pkg string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, pkg)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// Root is the directory of the source tree.
func Root() string { return os.Getenv(rootVar) }

// Muster is the path of the built binary, Prop that of the misbehaving worker
// (test/prop), Hello that of the Go example.
func Muster() string { return os.Getenv(musterVar) }

// Prop is the path of test/prop.
func Prop() string { return os.Getenv(propVar) }

// Hello is the path of the built Go example.
func Hello() string { return os.Getenv(helloVar) }

// Chat is the path of the built Go chat room.
func Chat() string { return os.Getenv(chatVar) }

// NodeModules is the directory of the packages that test programs use, which
// scripts/test-node.sh installs.
func NodeModules(t testing.TB) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(Root(), "scripts", "test-node.sh"))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the packages of Node.js cannot be installed: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// Node is the path of a release of Node.js: that of the machine (""), or "20", "22", "24", "26".
func Node(t testing.TB, major string) string {
	t.Helper()
	if major != "" {
		return filepath.Join(NodeModules(t), "node"+major, "bin", "node")
	}
	path, err := exec.LookPath("node")
	if err != nil {
		t.Fatal(err)
	}
	return path
}
