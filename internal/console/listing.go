package console

import (
	"fmt"
	"strings"
)

// listed is how many candidates are shown, helped up to how many with their help.
const (
	listed = 120
	helped = 40
)

// listing shows candidates: with what they are, one a line, or many in columns.
func listing(list []Candidate, width int) string {
	more := len(list) - listed
	if more > 0 {
		list = list[:listed]
	}
	longest, help := 0, false
	for _, k := range list {
		longest = max(longest, len(k.Text))
		help = help || k.Help != ""
	}
	var b strings.Builder
	across := max(1, width/(longest+2))
	if help && len(list) <= helped {
		across = 1
	}
	for i, k := range list {
		text := fmt.Sprintf("%-*s", longest+2, k.Text)
		if across == 1 {
			text = cut(text+k.Help, width)
		}
		b.WriteString(text)
		if (i+1)%across == 0 || i == len(list)-1 {
			b.WriteByte('\n')
		}
	}
	if more > 0 {
		fmt.Fprintf(&b, "… and %d more\n", more)
	}
	return b.String()
}

// cut keeps a text within one line of the terminal.
func cut(text string, width int) string {
	if runes := []rune(text); width > 0 && len(runes) > width-1 {
		return string(runes[:width-2]) + "…"
	}
	return text
}
