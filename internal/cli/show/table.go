package show

import (
	"strings"

	"github.com/clipperhouse/displaywidth"
)

// columnGap stands between two columns.
const columnGap = "  "

// cellWidth is how many columns of a terminal a text takes; colours take none.
func cellWidth(text string) int { return displaywidth.Options{ControlSequences: true}.String(text) }

// Column is one column of a table. keep orders what a narrow terminal drops:
// the lowest first, 0 never.
type Column struct {
	Name string
	Keep int
}

// Table is rows under a heading, without lines around them.
type Table struct {
	Columns []Column
	rows    [][]string
}

// Add appends a row; it has one cell for each column.
func (t *Table) Add(cells ...string) { t.rows = append(t.rows, cells) }

// Write prints the table. On a terminal that is too narrow columns are dropped;
// a column without any content is dropped always.
func (t *Table) Write(p *Printer) {
	shown := t.fit(p.width)
	if len(shown) == 0 {
		return
	}
	widths := t.widths()
	heading := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		heading[i] = p.Paint(Bold, c.Name)
	}
	var out strings.Builder
	for _, row := range append([][]string{heading}, t.rows...) {
		out.WriteString(joinRow(row, shown, widths))
		out.WriteByte('\n')
	}
	p.Printf("%s", out.String())
}

func joinRow(row []string, shown, widths []int) string {
	var b strings.Builder
	for n, i := range shown {
		if n > 0 {
			b.WriteString(columnGap)
		}
		b.WriteString(row[i])
		if n < len(shown)-1 {
			b.WriteString(strings.Repeat(" ", widths[i]-cellWidth(row[i])))
		}
	}
	return strings.TrimRight(b.String(), " ")
}

func (t *Table) widths() []int {
	widths := make([]int, len(t.Columns))
	for i, c := range t.Columns {
		widths[i] = cellWidth(c.Name)
		for _, row := range t.rows {
			widths[i] = max(widths[i], cellWidth(row[i]))
		}
	}
	return widths
}

// fit chooses the columns that a width holds; 0 holds all.
func (t *Table) fit(width int) []int {
	var shown []int
	for i, c := range t.Columns {
		if c.Keep == 0 || !t.empty(i) {
			shown = append(shown, i)
		}
	}
	widths := t.widths()
	for width > 0 && rowWidth(shown, widths) > width {
		drop := -1
		for n, i := range shown {
			if k := t.Columns[i].Keep; k > 0 && (drop < 0 || k < t.Columns[shown[drop]].Keep) {
				drop = n
			}
		}
		if drop < 0 {
			break
		}
		shown = append(shown[:drop], shown[drop+1:]...)
	}
	return shown
}

func rowWidth(shown, widths []int) int {
	total := 0
	for n, i := range shown {
		if n > 0 {
			total += len(columnGap)
		}
		total += widths[i]
	}
	return total
}

func (t *Table) empty(i int) bool {
	for _, row := range t.rows {
		if row[i] != "" {
			return false
		}
	}
	return true
}
