package table

import (
	"fmt"

	"github.com/muster-run/muster/internal/config/tree"
	"github.com/muster-run/muster/spec"
)

// Problem is one mistake and its place.
type Problem struct {
	spec.Problem
	// File as it is printed, "" for flags; Line and Column from 1, 0 when there
	// is no place.
	File         string
	Line, Column int
}

// String is "FILE:LINE:COLUMN: PATH: TEXT; FIX".
func (p Problem) String() string {
	where := p.spot().String()
	if where == "" {
		return p.Problem.String()
	}
	return where + ": " + p.Problem.String()
}

func (p Problem) spot() Spot {
	return Spot{File: p.File, Place: tree.Place{Line: p.Line, Column: p.Column}}
}

// Spot is a place in a named file; with the zero Place it is the whole file.
type Spot struct {
	File string
	tree.Place
	// inherited: it was written for another path.
	inherited *inheritance
}

// String is "FILE:LINE:COLUMN", or "FILE".
func (s Spot) String() string {
	if s.Line == 0 {
		return s.File
	}
	return fmt.Sprintf("%s:%d:%d", s.File, s.Line, s.Column)
}
