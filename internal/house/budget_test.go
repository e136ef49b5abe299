package house

import (
	"fmt"
	"go/ast"
	"slices"
	"testing"
)

// The budget: signs, not aims.
const (
	maxFunction   = 100 // lines
	longFunction  = 60
	longPercent   = 4
	medianLines   = 12
	maxFile       = 500
	maxPackage    = 2500
	maxParameters = 5
	maxMethods    = 5
)

// bigInterfaces are the exceptions to maxMethods, with the reason.
func bigInterfaces() map[string]string {
	return map[string]string{
		"internal/process.Starter": "the one seam to the operating system; its two implementations are held to one suite",
		"internal/process.Store":   "belongs to the same seam",
	}
}

func sizeRule(t tree) []string {
	var bad []string
	for dir, sources := range t.dirs() {
		total := 0
		for _, s := range sources {
			total += s.lines
			if s.lines > maxFile {
				bad = append(bad, fmt.Sprintf("%s has %d lines, the limit is %d", s.path, s.lines, maxFile))
			}
		}
		if total > maxPackage {
			bad = append(bad, fmt.Sprintf("%s has %d lines, the limit is %d", dir, total, maxPackage))
		}
	}
	return bad
}

func functionRule(t tree) []string {
	var bad []string
	var lengths []int
	for _, s := range t.sources {
		for _, d := range s.ast.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || s.test {
				continue
			}
			n := t.set.Position(f.End()).Line - t.set.Position(f.Pos()).Line + 1
			if product(s.dir) {
				lengths = append(lengths, n)
			}
			if n > maxFunction {
				bad = append(bad, fmt.Sprintf("%s: %s has %d lines, the limit is %d", t.at(f), f.Name.Name, n, maxFunction))
			}
			if n := parameters(f.Type); n > maxParameters {
				bad = append(bad, fmt.Sprintf("%s: %s has %d parameters, the limit is %d: use a struct", t.at(f), f.Name.Name, n, maxParameters))
			}
			if f.Name.Name == "init" && f.Recv == nil {
				bad = append(bad, t.at(f)+": init() is not used here")
			}
		}
	}
	return append(bad, lengthsRule(lengths)...)
}

func lengthsRule(lengths []int) []string {
	if len(lengths) == 0 {
		return nil
	}
	var bad []string
	slices.Sort(lengths)
	if m := lengths[len(lengths)/2]; m > medianLines {
		bad = append(bad, fmt.Sprintf("the median function has %d lines, the limit is %d", m, medianLines))
	}
	long := 0
	for _, n := range lengths {
		if n > longFunction {
			long++
		}
	}
	if long*100 > longPercent*len(lengths) {
		bad = append(bad, fmt.Sprintf("%d of %d functions are over %d lines, the limit is %d %%", long, len(lengths), longFunction, longPercent))
	}
	return bad
}

func parameters(f *ast.FuncType) int {
	n := 0
	for _, p := range f.Params.List {
		n += max(1, len(p.Names))
	}
	return n
}

func interfaceRule(t tree) []string {
	var bad []string
	for _, s := range t.sources {
		if s.test {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			i, ok := spec.Type.(*ast.InterfaceType)
			if !ok {
				return true
			}
			count := 0
			for _, m := range i.Methods.List {
				count += max(1, len(m.Names))
			}
			if _, argued := bigInterfaces()[s.dir+"."+spec.Name.Name]; count > maxMethods && !argued {
				bad = append(bad, fmt.Sprintf("%s: interface %s has %d methods, the limit is %d", t.at(spec), spec.Name.Name, count, maxMethods))
			}
			return true
		})
	}
	return bad
}

func TestSizes(t *testing.T)      { report(t, sizeRule(wholeTree(t))) }
func TestFunctions(t *testing.T)  { report(t, functionRule(wholeTree(t))) }
func TestInterfaces(t *testing.T) { report(t, interfaceRule(wholeTree(t))) }
