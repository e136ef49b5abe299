package fault

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestError(t *testing.T) {
	f := New(PortInUse, "cannot listen on %s", ":80")
	if got := f.Error(); got != "cannot listen on :80 (E-PORT-IN-USE)" {
		t.Error(got)
	}
	at := f.At("web#2").WithFix("try :81").WithOutput([]string{"a", "b"})
	if got := at.Error(); got != "web#2: cannot listen on :80 (E-PORT-IN-USE)" {
		t.Error(got)
	}
	if f.Where != "" || f.Output != nil || f.Fix != Explain(PortInUse).Fix || at.Fix != "try :81" || len(at.Output) != 2 {
		t.Errorf("the copies are not copies: %+v %+v", f, at)
	}
}

func TestCause(t *testing.T) {
	f := New(DirMissing, "cannot enter: %w", fs.ErrNotExist)
	wrapped := fmt.Errorf("starting web: %w", f)
	if !errors.Is(wrapped, fs.ErrNotExist) || f.Text != "cannot enter: file does not exist" {
		t.Error(f)
	}
	if From(wrapped) != f || CodeOf(wrapped) != DirMissing || ExitCode(wrapped) != 1 {
		t.Error(From(wrapped), CodeOf(wrapped), ExitCode(wrapped))
	}
	plain := errors.New("boom")
	if g := From(plain); g.Code != Internal || g.Text != "boom" || !errors.Is(g, plain) {
		t.Errorf("%+v", g)
	}
	if From(nil) != nil || CodeOf(plain) != "" || ExitCode(nil) != 0 || ExitCode(plain) != 1 {
		t.Error("nil or a plain error")
	}
	// %w twice: the text has both, and there is no one cause.
	if g := New(Bind, "%w, %w", fs.ErrExist, fs.ErrClosed); g.Err != nil || !strings.Contains(g.Text, "closed") {
		t.Errorf("%+v", g)
	}
}

// A fault crosses the control socket with everything but its cause.
func TestWire(t *testing.T) {
	f := New(ReadyTimeout, "not ready: %w", fs.ErrClosed).At("web#0").WithOutput([]string{"line"})
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	var again Fault
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatal(err)
	}
	want := *f
	want.Err = nil
	if !reflect.DeepEqual(again, want) {
		t.Errorf("%+v, want %+v", again, want)
	}
}

// Every constant has one entry in the table, in its order, with all texts.
func TestTable(t *testing.T) {
	codes := declared(t)
	table := Table()
	if len(table) != len(codes) {
		t.Errorf("%d entries for %d codes", len(table), len(codes))
	}
	form := regexp.MustCompile(`^E(-[A-Z]+)+$`)
	for i, e := range table {
		if i < len(codes) && e.Code != codes[i] {
			t.Errorf("entry %d is %s, the constant %s", i, e.Code, codes[i])
		}
		if !form.MatchString(string(e.Code)) || e.Summary == "" || e.Text == "" || e.Fix == "" {
			t.Errorf("%s is not complete", e.Code)
		}
		if strings.HasSuffix(e.Summary, ".") || e.Summary[0] >= 'A' && e.Summary[0] <= 'Z' {
			t.Errorf("the summary of %s is no phrase: %q", e.Code, e.Summary)
		}
		if got := Explain(e.Code); !reflect.DeepEqual(got, e) {
			t.Errorf("Explain(%s) is %+v", e.Code, got)
		}
	}
	if e := Explain("E-NEW"); e.Code != "E-NEW" || e.Exit != 1 || e.Text == "" {
		t.Errorf("an unknown code: %+v", e)
	}
}

// declared reads the constants from the source.
func declared(t *testing.T) (codes []Code) {
	f, err := parser.ParseFile(token.NewFileSet(), "codes.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == 1 {
			if lit, ok := v.Values[0].(*ast.BasicLit); ok {
				s, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				codes = append(codes, Code(s))
			}
		}
		return true
	})
	return codes
}

// The exit codes are an interface: scripts test them.
func TestExitCodes(t *testing.T) {
	for code, want := range map[Code]int{
		Usage: 2, Config: 2, SocketPath: 2, UserUnknown: 2, ReloadFailed: 1, AgentRunning: 1, NotRunning: 3, NoApp: 4,
		AgentUnreachable: 5, Denied: 6, Partly: 7, Timeout: 124, Interrupted: 130, Internal: 1,
	} {
		if got := ExitCode(New(code, "x")); got != want {
			t.Errorf("%s exits with %d, want %d", code, got, want)
		}
	}
}
