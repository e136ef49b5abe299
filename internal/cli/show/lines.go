package show

import (
	"fmt"
	"strings"
)

// Speaker is the coloured, padded name before a line.
func Speaker(p *Printer, name string, i Ink, width int) string {
	return p.Paint(i, fmt.Sprintf("%-*s", width, name)+" |") + " "
}

// Reset ends what a worker's own colour codes may have left open.
func Reset(p *Printer, line string) string {
	if p.colour && strings.Contains(line, "\x1b[") {
		return "\x1b[0m"
	}
	return ""
}
