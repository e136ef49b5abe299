package house

import (
	"go/ast"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// unused are words that say nothing about the thing they name.
func unused() []string {
	return []string{"manager", "handler", "service", "engine", "core", "util", "utils", "common", "helper", "helpers", "base"}
}

var wordPattern = regexp.MustCompile(`[A-Z]+(?:[^a-z]|$)|[A-Z]?[a-z]+`)

// words splits a name: "httpHandlerBase" is http, handler, base.
func words(name string) []string {
	var list []string
	for _, w := range wordPattern.FindAllString(name, -1) {
		list = append(list, strings.ToLower(w))
	}
	return list
}

// wordRule: no package and no type has one of the unused words in its name.
func wordRule(t tree) []string {
	var bad []string
	for _, s := range t.sources {
		judge := func(n ast.Node, name string) {
			for _, w := range words(name) {
				if slices.Contains(unused(), w) {
					bad = append(bad, t.at(n)+": "+name+": the word "+w+" is not used here")
				}
			}
		}
		judge(s.ast, s.ast.Name.Name)
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				judge(spec, spec.Name.Name)
			}
			return true
		})
	}
	return bad
}

// waitRule: tests wait for what happens, never for a time, and never skip.
func waitRule(t tree) []string {
	var bad []string
	for _, s := range t.sources {
		if !s.test && !strings.HasPrefix(s.path, "test/") {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, ok := sel.X.(*ast.Ident)
			if !ok {
				return true
			}
			switch name := x.Name + "." + sel.Sel.Name; name {
			case "time.Sleep":
				bad = append(bad, t.at(n)+": time.Sleep in a test: wait for the event instead")
			case "t.Skip", "t.Skipf", "t.SkipNow", "b.Skip", "testing.Short":
				bad = append(bad, t.at(n)+": "+name+": a missing component fails, it does not skip")
			}
			return true
		})
	}
	return bad
}

func TestWords(t *testing.T)            { report(t, wordRule(wholeTree(t))) }
func TestNoSleepAndNoSkip(t *testing.T) { report(t, waitRule(wholeTree(t))) }
