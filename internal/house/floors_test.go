package house

import (
	"go/ast"
	"maps"
	"slices"
	"strings"
	"testing"
)

// floors is the table of docs/ARCHITECTURE.md, lowest first.
func floors() [][]string {
	in := func(names string) []string {
		var dirs []string
		for n := range strings.FieldsSeq(names) {
			dirs = append(dirs, "internal/"+n)
		}
		return dirs
	}
	return [][]string{
		0: {"spec", "event", "internal/lifecycle"},
		1: in("process listener channel sdnotify health output config bus identity metrics journal op coordination"),
		2: append(in("keeper nodejs handoff reload notifier watch schedule importer saved acl launch"), "peer"),
		3: append(in("supervisor exchange registry election outbox inbox method relay deadletter"), "worker", "client"),
		4: in("control fleet operations"),
		5: in("dashboard console"),
		6: {"internal/agent", "."},
		7: in("cli"),
		8: {"cmd/muster"},
		9: {"test", "bench", "examples", "clients", "internal/house"},
	}
}

// Two public packages stand between the numbers: the shape of an error (fault)
// is a word of spec and event too; the wire types (api) are made of floor 0 only
// and are words of floor 1.
const (
	ground    = "fault"
	mezzanine = "api"
)

// room is the directory of the table that a package lies in, and its height,
// which is ten times its floor.
func room(dir string) (name string, height int, ok bool) {
	switch dir {
	case ground:
		return ground, -5, true
	case mezzanine:
		return mezzanine, 5, true
	}
	for floor, names := range floors() {
		for _, n := range names {
			if dir == n || n != "." && strings.HasPrefix(dir, n+"/") {
				return n, 10 * floor, true
			}
		}
	}
	return "", 0, false
}

// roomOf is the room that a package lies in, "" where there is none.
func roomOf(dir string) string {
	name, _, _ := room(dir)
	return name
}

// top may import anything: tests of the whole, benchmarks, examples.
const top = 90

// floorRule: imports go strictly downward; those of tests not upward. Packages
// inside one room may import each other.
func floorRule(t tree) []string {
	var bad []string
	for _, s := range t.sources {
		from, own, ok := room(s.dir)
		if !ok {
			bad = append(bad, s.path+": "+s.dir+" has no floor: add it to the table in floors_test.go")
			continue
		}
		for _, i := range s.imports {
			dir, ok := local(i)
			if !ok {
				continue
			}
			to, floor, known := room(dir)
			switch {
			case !known, from == to, floor < own, s.test && floor == own, own == top:
			default:
				bad = append(bad, s.path+" imports "+dir+": not downward")
			}
		}
	}
	return bad
}

// public packages end up in users' binaries.
func public() []string {
	return []string{".", "worker", "peer", "client", "api", "spec", "event", "fault"}
}

// reach is every import of a package, through packages of this module.
func reach(t tree, from string) map[string]bool {
	seen := map[string]bool{}
	dirs := t.dirs()
	var visit func(dir string)
	visit = func(dir string) {
		for _, s := range dirs[dir] {
			for _, i := range s.imports {
				if seen[i] {
					continue
				}
				seen[i] = true
				if d, ok := local(i); ok {
					visit(d)
				}
			}
		}
	}
	visit(from)
	return seen
}

// composed are those that are made of internal rooms, which must be as clean.
func composed() []string { return []string{".", "worker", "peer", "client"} }

// publicRule: they stand on the standard library, x/sys and each other, words
// (spec, event …) on words only.
func publicRule(t tree) []string {
	var bad []string
	for _, from := range public() {
		for _, i := range slices.Sorted(maps.Keys(reach(t, from))) {
			dir, ours := local(i)
			switch {
			case standard(i), strings.HasPrefix(i, "golang.org/x/sys/"):
			case ours && (slices.Contains(composed(), from) || slices.Contains(public(), roomOf(dir))):
			default:
				bad = append(bad, "public package "+from+" depends on "+i)
			}
		}
	}
	return bad
}

// keeperRule: the process that must never fail is small. What it is made of, rooms
// below included, knows no configuration, no HTTP, no bus and no command line.
func keeperRule(t tree) []string {
	var bad []string
	for _, i := range slices.Sorted(maps.Keys(reach(t, "internal/keeper"))) {
		_, ours := local(i)
		switch {
		case i == "net/http", i == "html/template", i == "text/template", i == "crypto/tls":
		case ours, standard(i), strings.HasPrefix(i, "golang.org/x/sys/"):
			continue
		}
		bad = append(bad, "the keeper depends on "+i)
	}
	return bad
}

// starters may start programs; all others go through process.
func starters() []string { return []string{"internal/process", "internal/keeper"} }

func startsPrograms(pkg, name string) bool {
	switch pkg + "." + name {
	case "os.StartProcess", "syscall.ForkExec", "syscall.StartProcess", "syscall.Exec", "unix.Exec", "syscall.RawSyscall",
		"exec.Command", "exec.CommandContext", "exec.Cmd": // LookPath is no start
		return true
	}
	return false
}

// confinedRule: what only certain rooms may do.
func confinedRule(t tree) []string {
	var bad []string
	for _, s := range t.sources {
		in, _, _ := room(s.dir)
		if s.test || !product(s.dir) {
			continue
		}
		for _, i := range s.imports {
			switch {
			case (strings.Contains(i, "nats-io") || strings.Contains(i, "go-redis")) && in != "internal/bus":
				bad = append(bad, s.path+" imports "+i+": only bus does")
			case strings.HasSuffix(i, "test") && !strings.HasSuffix(s.dir, "test"):
				bad = append(bad, s.path+" imports "+i+": only tests do")
			}
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && startsPrograms(x.Name, sel.Sel.Name) && !slices.Contains(starters(), in) {
				bad = append(bad, t.at(n)+" calls "+x.Name+"."+sel.Sel.Name+": programs are started by process")
			}
			return true
		})
	}
	return bad
}

func TestFloors(t *testing.T)         { report(t, floorRule(wholeTree(t))) }
func TestPublicPackages(t *testing.T) { report(t, publicRule(wholeTree(t))) }
func TestKeeperImports(t *testing.T)  { report(t, keeperRule(wholeTree(t))) }
func TestConfined(t *testing.T)       { report(t, confinedRule(wholeTree(t))) }
