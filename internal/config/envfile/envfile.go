package envfile

import (
	"strings"
	"unicode/utf8"
)

// Assignment is one NAME=value of a file.
type Assignment struct {
	Name, Value string
	Line        int // of the name, from 1
}

// Parse reads NAME=value lines. Empty lines, # comments and "export " are
// skipped; 'single' quotes keep everything, "double" ones know \n \t \r \" \\ \$,
// and both may span lines; an unquoted value ends before " #". Nothing is
// expanded. What is wrong is reported with its line and left out.
func Parse(text string, report func(line int, text, fix string)) (all []Assignment) {
	text = strings.TrimPrefix(strings.ReplaceAll(text, "\r\n", "\n"), "\ufeff")
	for at := 1; text != ""; at++ {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		name, value, skip, ok := splitAssignment(line)
		if skip {
			continue
		}
		start := at
		if value != "" && (value[0] == '"' || value[0] == '\'') && ok {
			// A quoted value may go on in the following lines.
			whole := value + "\n" + text
			end := closing(whole)
			if end == 0 {
				report(at, "the quote of "+name+" is not closed", "close it")
				continue
			}
			at += strings.Count(whole[:end], "\n")
			var behind string
			behind, text, _ = strings.Cut(whole[end+1:], "\n")
			behind = strings.TrimSpace(behind)
			ok = behind == "" || behind[0] == '#'
			value = unquote(whole[:end+1])
		} else if i := commentAt(value); i >= 0 {
			value = strings.TrimRight(value[:i], " \t")
		}
		switch {
		case !ok:
			report(start, "the line is not of the form NAME=value", "write NAME=value, or # before a comment")
		case !utf8.ValidString(name + value):
			report(start, "the line is not UTF-8 text", "save the file as UTF-8")
		case strings.ContainsRune(value, 0):
			report(start, "the value of "+name+" holds a NUL byte", "")
		default:
			all = append(all, Assignment{name, value, start})
		}
	}
	return all
}

// splitAssignment takes a line apart; skip is true for one without meaning.
func splitAssignment(line string) (name, value string, skip, ok bool) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return "", "", true, true
	}
	if rest, exported := strings.CutPrefix(line, "export "); exported {
		line = strings.TrimSpace(rest)
	}
	name, value, ok = strings.Cut(line, "=")
	name = strings.TrimRight(name, " \t")
	ok = ok && name != "" && !strings.ContainsAny(name, " \t\"'\x00")
	return name, strings.TrimLeft(value, " \t"), false, ok
}

func commentAt(value string) int {
	if strings.HasPrefix(value, "#") {
		return 0
	}
	if i := strings.Index(value, " #"); i >= 0 {
		return i
	}
	return strings.Index(value, "\t#")
}

// closing is the index of the quote that closes the one value begins with, 0
// when there is none.
func closing(value string) int {
	for i := 1; i < len(value); i++ {
		switch {
		case value[0] == '"' && value[i] == '\\':
			i++
		case value[i] == value[0]:
			return i
		}
	}
	return 0
}

func unquote(value string) string {
	inner := value[1 : len(value)-1]
	if value[0] == '\'' {
		return inner
	}
	return strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\r`, "\r", `\"`, `"`, `\\`, `\`, `\$`, "$").Replace(inner)
}
