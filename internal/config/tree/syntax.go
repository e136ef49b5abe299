package tree

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// badByte is the place of the first byte that is not UTF-8.
func badByte(data []byte) Place {
	line, column := 1, 1
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if r == utf8.RuneError && size == 1 {
			break
		}
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
		data = data[size:]
	}
	return Place{line, column}
}

// explainSyntax turns an error of the YAML reader into words. It goes by what
// stands at the place, because the reader's own words are about its grammar.
func explainSyntax(data []byte, err error) (at Place, text, fix string) {
	var bad *yaml.LoadError
	if !errors.As(err, &bad) {
		return Place{}, "the file is not valid YAML (" + err.Error() + ")", ""
	}
	at = Place{bad.Mark.Line, bad.Mark.Column}
	line, rest := lineAt(data, at)
	// Inside of a quote or bracket, the place where that begins says more.
	open := Place{bad.ContextMark.Line, bad.ContextMark.Column}
	if _, from := lineAt(data, open); open.Line > 0 && from != "" && strings.IndexByte("\"'[{", from[0]) >= 0 && open.Line < at.Line {
		return open, "what " + from[:1] + " begins here is not closed", fmt.Sprintf("close it, at the latest before line %d", at.Line)
	}
	switch indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]; {
	case strings.Contains(indent, "\t"):
		return Place{at.Line, strings.IndexByte(line, '\t') + 1}, "a tab stands in the indentation", "indent with spaces"
	case strings.HasPrefix(rest, ": ") && bad.ContextMsg == "":
		return at, "a second \": \" stands in one line", "quote the value, or begin a new line"
	case strings.HasPrefix(rest, "@"), strings.HasPrefix(rest, "`"), strings.HasPrefix(rest, "%"):
		return at, "a value cannot begin with " + rest[:1], "quote the value"
	}
	text = "not valid YAML: " + bad.Message
	if bad.ContextMsg != "" {
		text += " (" + bad.ContextMsg
		if bad.ContextMark.Line > 0 && bad.ContextMark.Line != at.Line {
			text += fmt.Sprintf(" that begins in line %d", bad.ContextMark.Line)
		}
		text += ")"
	}
	return at, text, "look at the indentation, quotes and brackets here and just above"
}

// lineAt returns the line of a place, and what of it stands there and behind.
func lineAt(data []byte, at Place) (line, rest string) {
	if lines := strings.Split(string(data), "\n"); at.Line >= 1 && at.Line <= len(lines) {
		line = lines[at.Line-1]
	}
	return line, line[min(max(at.Column-1, 0), len(line)):]
}
