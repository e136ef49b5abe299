package show

import (
	"strconv"
	"strings"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// Explained finds the code that a word means, with or without E- and in any case.
func Explained(word string) (fault.Explanation, error) {
	code := strings.ToUpper(word)
	if !strings.HasPrefix(code, "E-") {
		code = "E-" + code
	}
	for _, e := range fault.Table() {
		if string(e.Code) == code {
			return e, nil
		}
	}
	f := fault.New(fault.Usage, "there is no error code %q", word).WithFix("`muster explain` lists them")
	if near := spec.Nearest(code, CodeNames()); near != "" {
		f = f.WithFix("did you mean " + near + "?")
	}
	return fault.Explanation{}, f
}

// Code prints what a code means.
func Code(p *Printer, e fault.Explanation) {
	p.Printf("%s: %s\n\n%s\n\nfix: %s\nexit code: %d\n", p.Paint(Bold, string(e.Code)), e.Summary, e.Text, e.Fix, e.Exit)
}

// Codes lists all of them.
func Codes(p *Printer) {
	t := Table{Columns: []Column{{Name: "CODE"}, {Name: "EXIT", Keep: 1}, {Name: "SUMMARY"}}}
	for _, e := range fault.Table() {
		t.Add(string(e.Code), strconv.Itoa(e.Exit), e.Summary)
	}
	t.Write(p)
}

// CodeNames are the codes themselves.
func CodeNames() []string {
	var list []string
	for _, e := range fault.Table() {
		list = append(list, string(e.Code))
	}
	return list
}
