package house

import (
	"go/ast"
	"go/token"
	"strings"
	"testing"
)

// linked are variables that the linker sets (-X), or that stand for one build, or for
// this process.
func linked() map[string]string {
	return map[string]string{
		"version":    "set by the linker for a release",
		"theWorker":  "one process has one worker: opening it twice gives it twice (S0.1)",
		"theProcess": "one process has one pool: launching twice is an error (S1.1)",
	}
}

// variableRule: a package variable is an error, a regular expression, an
// embedded file, or a table that nobody writes to.
func variableRule(t tree) []string {
	var bad []string
	for dir, sources := range t.dirs() {
		written := writtenNames(sources)
		for _, s := range sources {
			for _, d := range s.ast.Decls {
				g, ok := d.(*ast.GenDecl)
				if !ok || g.Tok != token.VAR {
					continue
				}
				for _, spec := range g.Specs {
					bad = append(bad, judgeVariable(t, dir, g, spec.(*ast.ValueSpec), written)...)
				}
			}
		}
	}
	return bad
}

func judgeVariable(t tree, dir string, g *ast.GenDecl, v *ast.ValueSpec, written map[string]bool) []string {
	var bad []string
	for i, name := range v.Names {
		_, isLinked := linked()[name.Name]
		var value ast.Expr
		if i < len(v.Values) {
			value = v.Values[i]
		}
		switch {
		case name.Name == "_", isLinked, embedded(g.Doc), embedded(v.Doc):
		case value != nil && constantLike(value) && !written[name.Name]:
		default:
			bad = append(bad, t.at(name)+": package variable "+dir+"."+name.Name+" is no error, regexp, embed or read-only table")
		}
	}
	return bad
}

func embedded(doc *ast.CommentGroup) bool {
	return doc != nil && strings.Contains(commentText(doc), "//go:embed")
}

func commentText(doc *ast.CommentGroup) string {
	var text strings.Builder
	for _, c := range doc.List {
		text.WriteString(c.Text + "\n")
	}
	return text.String()
}

// constantLike is errors.New(…), regexp.MustCompile(…), a composite literal, or
// another room's error.
func constantLike(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.CompositeLit:
		return true
	case *ast.SelectorExpr:
		return strings.HasPrefix(e.Sel.Name, "Err")
	case *ast.CallExpr:
		sel, ok := e.Fun.(*ast.SelectorExpr)
		if !ok {
			return false
		}
		x, ok := sel.X.(*ast.Ident)
		if !ok {
			return false
		}
		switch x.Name + "." + sel.Sel.Name {
		case "errors.New", "fmt.Errorf", "regexp.MustCompile", "fault.New":
			return true
		}
	}
	return false
}

// writtenNames are the package-level names that some function assigns to, also
// through an index or a field, or takes the address of. Without type
// information a name that a function declares itself is taken for a local one.
func writtenNames(sources []source) map[string]bool {
	written := map[string]bool{}
	for _, s := range sources {
		for _, d := range s.ast.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			own := declaredNames(f)
			ast.Inspect(f.Body, func(n ast.Node) bool {
				for _, name := range targets(n) {
					written[name] = written[name] || !own[name]
				}
				return true
			})
		}
	}
	return written
}

// targets are the names that a statement or expression writes to.
func targets(n ast.Node) []string {
	var exprs []ast.Expr
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			exprs = n.Lhs
		}
	case *ast.IncDecStmt:
		exprs = []ast.Expr{n.X}
	case *ast.UnaryExpr:
		if n.Op == token.AND {
			exprs = []ast.Expr{n.X}
		}
	}
	var names []string
	for _, e := range exprs {
		if name := rootName(e); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// rootName is x for x, x[i], x.f and x[i].f.
func rootName(e ast.Expr) string {
	for {
		switch x := e.(type) {
		case *ast.IndexExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

func declaredNames(f *ast.FuncDecl) map[string]bool {
	own := map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			for _, name := range n.Names {
				own[name.Name] = true
			}
		case *ast.ValueSpec:
			for _, name := range n.Names {
				own[name.Name] = true
			}
		case *ast.AssignStmt:
			for _, l := range n.Lhs {
				if id, ok := l.(*ast.Ident); ok && n.Tok == token.DEFINE {
					own[id.Name] = true
				}
			}
		case *ast.RangeStmt:
			for _, e := range []ast.Expr{n.Key, n.Value} {
				if id, ok := e.(*ast.Ident); ok && n.Tok == token.DEFINE {
					own[id.Name] = true
				}
			}
		}
		return true
	})
	return own
}

func TestPackageVariables(t *testing.T) { report(t, variableRule(wholeTree(t))) }
