package house

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
)

func small(t *testing.T, files map[string]string) tree {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	all, err := parseTree(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func importing(pkg string, imports ...string) string {
	text := "// Package " + pkg + " is made up.\npackage " + pkg + "\n"
	for _, i := range imports {
		text += fmt.Sprintf("import _ %q\n", i)
	}
	return text
}

const in = module + "/"

// Each rule finds its violation, and only that.
func TestRulesFindViolations(t *testing.T) {
	lines := func(n int) string { return strings.Repeat("\n", n) }
	cases := map[string]struct {
		rule func(tree) []string
		bad  map[string]string
		good map[string]string
	}{
		"up": {
			floorRule,
			map[string]string{"spec/a.go": importing("spec", in+"internal/agent")},
			map[string]string{"internal/agent/a.go": importing("agent", in+"spec", in+"fault")},
		},
		"sideways": {
			floorRule,
			map[string]string{"internal/health/a.go": importing("health", in+"internal/output")},
			map[string]string{
				"internal/health/a_test.go":      importing("health", in+"internal/output"),
				"internal/process/suite/a.go":    importing("suite", in+"internal/process"),
				"test/e2e/a.go":                  importing("e2e", in+"internal/cli"),
				"internal/supervisor/a_test.go":  importing("supervisor", in+"client"),
				"internal/control/b.go":          importing("control", in+"client"),
				"internal/config/strange_dep.go": importing("config", "example.com/yaml"),
			},
		},
		"a test upward": {
			floorRule,
			map[string]string{"internal/health/a_test.go": importing("health", in+"internal/agent")},
			nil,
		},
		"no floor": {floorRule, map[string]string{"internal/strange/a.go": importing("strange")}, nil},
		"public, third party": {
			publicRule,
			map[string]string{"client/a.go": importing("client", in+"internal/x"), "internal/x/a.go": importing("x", "example.com/yaml")},
			map[string]string{"api/a.go": importing("api", in+"spec", "golang.org/x/sys/unix", "net/http")},
		},
		"public, internal": {
			publicRule,
			map[string]string{"a.go": importing("muster", in+"internal/x"), "internal/x/a.go": importing("x", "github.com/a/b")},
			map[string]string{"client/a_test.go": importing("client", in+"internal/control"), "a.go": importing("muster", in+"internal/process")},
		},
		"the keeper, third party": {
			keeperRule,
			map[string]string{"internal/keeper/a.go": importing("keeper", in+"internal/x"), "internal/x/a.go": importing("x", "example.com/yaml")},
			map[string]string{
				"internal/keeper/a.go": importing("keeper", in+"internal/x"), "internal/x/a.go": importing("x", "net", "golang.org/x/sys/unix"),
				"internal/keeper/a_test.go": importing("keeper", "example.com/goleak"), "internal/cli/a.go": importing("cli", "net/http"),
			},
		},
		"the keeper, http": {keeperRule, map[string]string{"internal/keeper/a.go": importing("keeper", "net/http")}, nil},
		"os/exec": {
			confinedRule,
			map[string]string{"internal/cli/a.go": "package cli\nfunc f() { exec.Command(``) }"},
			map[string]string{
				"internal/cli/a.go": "package cli\nfunc f() { exec.LookPath(``) }", "internal/process/a.go": "package process\nfunc f() { exec.Command(``) }",
				"test/rig/a.go": "package rig\nfunc f() { exec.Command(``) }",
			},
		},
		"fork": {
			confinedRule,
			map[string]string{"internal/cli/a.go": "package cli\nfunc f() { syscall.ForkExec() }"},
			map[string]string{"internal/cli/a.go": "package cli\nfunc f() { syscall.Kill() }"},
		},
		"bus": {confinedRule, map[string]string{"internal/cli/a.go": importing("cli", "github.com/nats-io/nats.go")}, nil},
		"package doc": {
			packageDocRule,
			map[string]string{"a/a.go": "package a"},
			map[string]string{"a/a.go": "package a", "a/doc.go": "// Package a is.\npackage a"},
		},
		"picture": {
			pictureRule("| `known` in a row · internal/drawn |"),
			map[string]string{"internal/strange/a.go": "package strange", "spec/a.go": "package spec"},
			map[string]string{"internal/known/a.go": "package known", "internal/a/drawn/a.go": "package drawn"},
		},
		"doc": {
			exportedDocRule,
			map[string]string{"a/a.go": "package a\ntype T struct{}\n// M is.\nfunc (T) M() {}"},
			map[string]string{"a/a.go": "package a\ntype t struct{}\nfunc (t) M() {}\n// The ks.\nconst (\nK = 1\nL = 2\n)"},
		},
		"method doc":   {exportedDocRule, map[string]string{"a/a.go": "package a\n// T is.\ntype T[X any] struct{}\nfunc (*T[X]) M() {}"}, nil},
		"constant doc": {exportedDocRule, map[string]string{"a/a.go": "package a\nconst K = 1"}, nil},
		"long file":    {sizeRule, map[string]string{"a/a.go": "package a" + lines(501)}, map[string]string{"a/a.go": "package a" + lines(400), "a/a_test.go": "package a" + lines(900)}},
		"long package": {sizeRule, map[string]string{
			"a/a.go": "package a" + lines(490), "a/b.go": "package a" + lines(490), "a/c.go": "package a" + lines(490),
			"a/d.go": "package a" + lines(490), "a/e.go": "package a" + lines(490), "a/f.go": "package a" + lines(490),
		}, nil},
		"long function": {functionRule, map[string]string{"test/a.go": "package a\nfunc f() {" + lines(100) + "}"}, nil},
		"median":        {functionRule, map[string]string{"a/a.go": "package a\nfunc f() {" + lines(20) + "}"}, nil},
		"parameters": {
			functionRule,
			map[string]string{"a/a.go": "package a\nfunc f(a, b, c int, d, e, f string) {}"},
			map[string]string{"a/a.go": "package a\nfunc f(a, b, c int, d, e string) {}"},
		},
		"init": {functionRule, map[string]string{"a/a.go": "package a\nfunc init() {}"}, map[string]string{"a/a.go": "package a\nfunc (t) init() {}"}},
		"interface": {
			interfaceRule,
			map[string]string{"a/a.go": "package a\ntype I interface { A(); B(); C(); D(); E(); F() }"},
			map[string]string{"internal/process/a.go": "package process\ntype Starter interface { A(); B(); C(); D(); E(); F() }"},
		},
		"variable": {variableRule, map[string]string{"a/a.go": "package a\nvar x = 1"}, map[string]string{
			"a/a.go": "package a\nvar ErrX = errors.New(``)\nvar r = regexp.MustCompile(``)\n//go:embed f\nvar f []byte\nvar table = []int{1}\nvar _ I = t{}",
			"a/b.go": "package a\nfunc g() { table := map[int]int{}; table[1] = 2 }",
		}},
		"variable, written": {variableRule, map[string]string{"a/a.go": "package a\nvar table = map[int]int{}", "a/b.go": "package a\nfunc g() { table[1] = 2 }"}, nil},
		"word": {
			wordRule,
			map[string]string{"a/a.go": "package a\ntype requestHandler struct{}"},
			map[string]string{"a/a.go": "package a\ntype Database struct{}\nfunc handler() {}"},
		},
		"package word": {wordRule, map[string]string{"a/a.go": "package util"}, nil},
		"sleep":        {waitRule, map[string]string{"a/a_test.go": "package a\nfunc f() { time.Sleep(1) }"}, map[string]string{"a/a.go": "package a\nfunc f() { time.Sleep(1) }"}},
		"skip":         {waitRule, map[string]string{"test/a/a.go": "package a\nfunc f() { t.Skip() }"}, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := tc.rule(small(t, tc.bad)); len(got) != 1 {
				t.Errorf("want one violation, got %q", got)
			}
			if got := tc.rule(small(t, tc.good)); len(got) != 0 {
				t.Errorf("want none, got %q", got)
			}
		})
	}
}
