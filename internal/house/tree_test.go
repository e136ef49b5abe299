package house

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/muster-run/muster"

// source is one Go file.
type source struct {
	path    string // "spec/spec.go"
	dir     string // "spec", "." for the root
	test    bool
	ast     *ast.File
	lines   int
	imports []string
}

// tree is the Go source of the module.
type tree struct {
	set     *token.FileSet
	sources []source
}

// skipped are directories that hold no source of ours.
func skipped(name string) bool {
	switch name {
	case ".git", ".cache", "bin", "node_modules", "testdata", "tools", "dist":
		return true
	}
	return false
}

func parseTree(fsys fs.FS) (tree, error) {
	t := tree{set: token.NewFileSet()}
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && skipped(d.Name()):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(p, ".go"):
			return nil
		}
		s, err := t.parse(fsys, p)
		t.sources = append(t.sources, s)
		return err
	})
	return t, err
}

func (t *tree) parse(fsys fs.FS, p string) (source, error) {
	text, err := fs.ReadFile(fsys, p)
	if err != nil {
		return source{}, err
	}
	f, err := parser.ParseFile(t.set, p, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return source{}, err
	}
	s := source{
		path: p, dir: path.Dir(p), test: strings.HasSuffix(p, "_test.go"),
		ast: f, lines: bytes.Count(text, []byte("\n")),
	}
	for _, i := range f.Imports {
		name, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			return source{}, err
		}
		s.imports = append(s.imports, name)
	}
	return s, nil
}

// at is "spec/spec.go:12".
func (t *tree) at(n ast.Node) string {
	p := t.set.Position(n.Pos())
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

// dirs groups the files that are not tests by package directory.
func (t *tree) dirs() map[string][]source {
	dirs := map[string][]source{}
	for _, s := range t.sources {
		if !s.test {
			dirs[s.dir] = append(dirs[s.dir], s)
		}
	}
	return dirs
}

// product says whether a package is part of what users get.
func product(dir string) bool {
	top, _, _ := strings.Cut(dir, "/")
	return top != "test" && top != "bench" && top != "examples"
}

// local is the directory of a package of this module.
func local(importPath string) (dir string, ok bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

// standard says whether an import path is of the standard library.
func standard(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}

const root = "../.."

// parsedTree parses once: the rules only read.
var parsedTree = sync.OnceValues(func() (tree, error) { return parseTree(os.DirFS(root)) })

func wholeTree(t *testing.T) tree {
	t.Helper()
	all, err := parsedTree()
	if err != nil {
		t.Fatal(err)
	}
	if len(all.sources) == 0 {
		t.Fatal("no source found")
	}
	return all
}

// report fails the test with every violation.
func report(t *testing.T, violations []string) {
	t.Helper()
	sort.Strings(violations)
	for _, v := range violations {
		t.Error(v)
	}
}
