package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
)

// row is one measurement: the values of each peer.
type row struct {
	what, unit string
	values     map[string][]float64
}

// table is rows under the same columns; the others are compared with the first.
type table struct {
	columns []string
	rows    []*row
}

// newRow adds a row. The pointer is good until the table is printed.
func (t *table) newRow(what, unit string) *row {
	r := &row{what: what, unit: unit, values: map[string][]float64{}}
	t.rows = append(t.rows, r)
	return r
}

// newRow adds a row to the table of the supervisors.
func (b *bench) newRow(what, unit string) *row { return b.table.newRow(what, unit) }

func (r *row) add(p rival, v float64) { r.note(p.name(), v) }

func (r *row) note(column string, v float64) { r.values[column] = append(r.values[column], v) }

// median is NaN-free: ok is false without values.
func median(v []float64) (m float64, ok bool) {
	if len(v) == 0 {
		return 0, false
	}
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2, true
}

// print writes the table: medians, and behind each column the ratio to the first.
func (t *table) print(w io.Writer) {
	if len(t.rows) == 0 {
		return
	}
	first := t.columns[0]
	fmt.Fprintf(w, "\nmedians on %d CPUs; in brackets how many times the value of %s\n\n", runtime.NumCPU(), first)
	lines := [][]string{append([]string{""}, t.columns...)}
	for _, r := range t.rows {
		line := []string{strings.TrimSpace(r.what + " " + bracket(r.unit))}
		for _, column := range t.columns {
			line = append(line, r.cell(column, first))
		}
		lines = append(lines, line)
	}
	printAligned(w, lines)
}

func bracket(unit string) string {
	if unit == "" {
		return ""
	}
	return "[" + unit + "]"
}

func (r *row) cell(name, ours string) string {
	m, ok := median(r.values[name])
	if !ok {
		return "-"
	}
	text := fmt.Sprintf("%.4g", m)
	if own, _ := median(r.values[ours]); name != ours && own > 0 {
		text += fmt.Sprintf(" (%.1f×)", m/own)
	}
	return text
}

func printAligned(w io.Writer, lines [][]string) {
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for _, line := range lines {
		var text strings.Builder
		for i, cell := range line {
			text.WriteString(cell + strings.Repeat(" ", widths[i]-len([]rune(cell))+2))
		}
		fmt.Fprintln(w, strings.TrimRight(text.String(), " "))
	}
}
