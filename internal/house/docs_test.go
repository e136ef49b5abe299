package house

import (
	"go/ast"
	"go/token"
	"testing"
)

// packageDocRule: every package says what it is for.
func packageDocRule(t tree) []string {
	var bad []string
	for dir, sources := range t.dirs() {
		documented := false
		for _, s := range sources {
			documented = documented || s.ast.Doc != nil
		}
		if !documented {
			bad = append(bad, dir+": the package has no doc comment")
		}
	}
	return bad
}

// exportedDocRule: every exported name has a doc comment. A group of constants
// or variables may have one for all; fields are left to the writer.
func exportedDocRule(t tree) []string {
	var bad []string
	for _, s := range t.sources {
		if s.test || s.ast.Name.Name == "main" {
			continue
		}
		for _, d := range s.ast.Decls {
			for _, id := range undocumented(d) {
				bad = append(bad, t.at(id)+": "+id.Name+" has no doc comment")
			}
		}
	}
	return bad
}

func undocumented(d ast.Decl) []*ast.Ident {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && (d.Recv == nil || receiverExported(d.Recv)) {
			return []*ast.Ident{d.Name}
		}
	case *ast.GenDecl:
		return undocumentedSpecs(d)
	}
	return nil
}

func undocumentedSpecs(d *ast.GenDecl) []*ast.Ident {
	var bad []*ast.Ident
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() && s.Doc == nil && (d.Doc == nil || d.Lparen.IsValid()) {
				bad = append(bad, s.Name)
			}
		case *ast.ValueSpec:
			if s.Doc != nil || s.Comment != nil || d.Doc != nil && d.Tok != token.TYPE {
				continue
			}
			for _, n := range s.Names {
				if n.IsExported() {
					bad = append(bad, n)
				}
			}
		}
	}
	return bad
}

func receiverExported(l *ast.FieldList) bool {
	expr := l.List[0].Type
	for {
		switch x := expr.(type) {
		case *ast.StarExpr:
			expr = x.X
		case *ast.IndexExpr:
			expr = x.X
		case *ast.IndexListExpr:
			expr = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return false
		}
	}
}

func TestPackageDocs(t *testing.T)  { report(t, packageDocRule(wholeTree(t))) }
func TestExportedDocs(t *testing.T) { report(t, exportedDocRule(wholeTree(t))) }
