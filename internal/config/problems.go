package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/config/table"
)

// Problem is one mistake and its place. File is as printed, "" for flags.
type Problem = table.Problem

// problemList is the cause in the fault of Load and FromRun.
type problemList []Problem

func (l problemList) Error() string {
	if len(l) == 1 {
		return "1 problem"
	}
	return fmt.Sprintf("%d problems", len(l))
}

// Problems lists the mistakes behind an error of Load or FromRun, in the order
// of the file; nil for any other error.
func Problems(err error) []Problem {
	var l problemList
	if errors.As(err, &l) {
		return l
	}
	return nil
}

// asFault makes the one error that tells all problems.
func asFault(what string, problems []Problem) *fault.Fault {
	list := tidy(problems)
	lines := make([]string, len(list))
	for i, p := range list {
		lines[i] = p.String()
	}
	f := fault.New(fault.Config, "%s has %w", what, list)
	f.Output = lines
	return f
}

// tidy sorts problems by place and drops what was told already there.
func tidy(problems []Problem) problemList {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return slices.CompactFunc(problems, func(a, b Problem) bool {
		// A value from the defaults is wrong once, not once for each app.
		return a.File == b.File && a.Line == b.Line && a.Column == b.Column && a.Text == b.Text && a.Line > 0
	})
}
