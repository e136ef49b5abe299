package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/muster-run/muster/spec"
)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// variables is what ${VAR} may refer to.
type variables struct {
	environ map[string]string
	dotenv  map[string]string
}

func environMap(environ []string) map[string]string {
	m := make(map[string]string, len(environ))
	for _, kv := range environ {
		if name, value, ok := strings.Cut(kv, "="); ok && name != "" {
			m[name] = value
		}
	}
	return m
}

// lookup returns a variable and where it is from. The environment wins.
func (v *variables) lookup(name string) (value, from string, ok bool) {
	if value, ok = v.environ[name]; ok {
		return value, "environment", true
	}
	if value, ok = v.dotenv[name]; ok {
		return value, ".env", true
	}
	return "", "", false
}

// expandError says why a text cannot be expanded.
type expandError struct{ text, fix string }

// expand replaces ${VAR}, ${VAR:-default} and $$ in a text; any other $ stays.
// from lists the variables used and where each comes from.
func (v *variables) expand(s string) (text, from string, bad *expandError) {
	var out strings.Builder
	var used []string
	for {
		i := strings.IndexByte(s, '$')
		if i < 0 || i+1 == len(s) {
			out.WriteString(s)
			return out.String(), strings.Join(used, ", "), nil
		}
		out.WriteString(s[:i])
		rest := s[i+1:]
		switch rest[0] {
		case '$':
			out.WriteByte('$')
			s = rest[1:]
		case '{':
			inner, after, closed := strings.Cut(rest[1:], "}")
			if !closed {
				return "", "", &expandError{"${ is not closed", "write ${NAME}, or $${ for the text itself"}
			}
			value, origin, err := v.reference(inner)
			if err != nil {
				return "", "", err
			}
			out.WriteString(value)
			used = append(used, origin)
			s = after
		default:
			out.WriteByte('$')
			s = rest
		}
	}
}

// reference resolves the inside of ${…}.
func (v *variables) reference(inner string) (value, origin string, bad *expandError) {
	name, fallback, hasDefault := strings.Cut(inner, ":-")
	if !variableName.MatchString(name) {
		return "", "", &expandError{
			fmt.Sprintf("${%s} is not understood", inner), "write ${NAME} or ${NAME:-default}, or $${ for the text itself",
		}
	}
	value, from, ok := v.lookup(name)
	switch {
	case hasDefault && value == "":
		return fallback, "${" + name + "} by default", nil
	case ok:
		return value, "${" + name + "} from " + from, nil
	}
	fix := "set it, or write ${" + name + ":-default}"
	if near := spec.Nearest(name, v.names()); near != "" {
		fix += fmt.Sprintf(" (did you mean %q?)", near)
	}
	return "", "", &expandError{"the variable " + name + " is not set in the environment nor in .env", fix}
}

func (v *variables) names() (names []string) {
	for name := range v.environ {
		names = append(names, name)
	}
	for name := range v.dotenv {
		names = append(names, name)
	}
	return names
}

// escape is the inverse of expand.
func escape(s string) string {
	var out strings.Builder
	for i := range len(s) {
		out.WriteByte(s[i])
		if s[i] == '$' && i+1 < len(s) && (s[i+1] == '$' || s[i+1] == '{') {
			out.WriteByte('$')
		}
	}
	return out.String()
}

// assignment is one line of an environment file.
type assignment struct {
	name, value string
	line        int
}

// readEnvFile reads NAME=value lines. Empty lines, # comments and "export " are
// skipped; 'single' quotes keep everything, "double" ones know \n \t \" \\ \$,
// and both may span lines; an unquoted value ends before " #". Nothing is
// expanded.
func readEnvFile(file string, report func(line int, text, fix string)) ([]assignment, error) {
	data, err := readLimited(file)
	if err != nil {
		return nil, err
	}
	return parseEnvFile(string(data), report), nil
}

func parseEnvFile(text string, report func(line int, text, fix string)) (all []assignment) {
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
			all = append(all, assignment{name, value, start})
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

// readLimited reads a file of at most maxFile bytes. A directory, a device or a
// pipe without a writer is refused before it can block.
func readLimited(file string) ([]byte, error) {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, errors.New("it is a directory")
	case !info.Mode().IsRegular() && !strings.HasPrefix(file, "/dev/fd/") && file != "/dev/stdin":
		return nil, errors.New("it is not a regular file")
	case info.Size() > maxFile:
		return nil, fmt.Errorf("it has %s, more than %s", spec.Bytes(info.Size()), spec.Bytes(maxFile))
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("it has more than %s", spec.Bytes(maxFile))
	}
	return data, err
}

// cause is an error of the system without the operation and the path.
func cause(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err.Error()
	}
	return err.Error()
}
