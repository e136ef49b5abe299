package envfile

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	var bad []string
	got := Parse("\ufeff# comment\r\n\n  A=1\nexport B = two words # c\nC=\"a\\nb \\\"q\\\" \\\\ \\$x # y\" # c\nD='a\\n\"'\nE=\nF=\"two\nlines\"\n"+
		"G=a#b\nH=#c\nI= x=y\nno line\nJ='x'y\n=v\nK L=1\nM=${A}\nA=again\nO=\xff\nN='open\n", func(line int, text, fix string) {
		bad = append(bad, fmt.Sprintf("%d %s", line, text))
	})
	want := []Assignment{
		{"A", "1", 3},
		{"B", "two words", 4},
		{"C", "a\nb \"q\" \\ $x # y", 5},
		{"D", `a\n"`, 6},
		{"E", "", 7},
		{"F", "two\nlines", 8},
		{"G", "a#b", 10},
		{"H", "", 11},
		{"I", "x=y", 12},
		{"M", "${A}", 17},
		{"A", "again", 18},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	wrong := []string{
		"13 the line is not of the form NAME=value", "14 the line is not of the form NAME=value", "15 the line is not of the form NAME=value",
		"16 the line is not of the form NAME=value", "19 the line is not UTF-8 text", "20 the quote of N is not closed",
	}
	if !slices.Equal(bad, wrong) {
		t.Errorf("%q, want %q", bad, wrong)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("A=1\nB='x\ny'\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, a := range Parse(text, func(line int, text, _ string) {
			if line < 1 || text == "" {
				t.Fatal(line, text)
			}
		}) {
			if a.Name == "" || strings.ContainsAny(a.Name+a.Value, "\x00") || a.Line < 1 {
				t.Fatalf("%+v", a)
			}
		}
	})
}
