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

// newRow adds a row to the table. The pointer is good until the table is
// printed.
func (b *bench) newRow(what, unit string) *row {
	r := &row{what: what, unit: unit, values: map[string][]float64{}}
	b.rows = append(b.rows, r)
	return r
}

func (r *row) add(p peer, v float64) { r.values[p.name()] = append(r.values[p.name()], v) }

// median is NaN-free: ok is false without values.
func median(v []float64) (m float64, ok bool) {
	if len(v) == 0 {
		return 0, false
	}
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2, true
}

// print writes the table: medians, and behind each peer the ratio to muster.
func (b *bench) print(w io.Writer) {
	fmt.Fprintf(w, "\nmedians on %d CPUs; in brackets how many times muster's value\n\n", runtime.NumCPU())
	var lines [][]string
	head := []string{""}
	for _, p := range b.peers {
		head = append(head, p.name())
	}
	lines = append(lines, head)
	for _, r := range b.rows {
		line := []string{strings.TrimSpace(r.what + " " + bracket(r.unit))}
		for _, p := range b.peers {
			line = append(line, r.cell(p.name(), b.peers[0].name()))
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
