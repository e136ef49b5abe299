package spec

import (
	"regexp"
	"strings"
)

var assignment = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)

// splitState is where SplitCommand stands.
type splitState struct {
	argv []string
	word strings.Builder
	open bool // a word has begun, perhaps an empty quoted one
}

func (s *splitState) end() {
	if s.open {
		s.argv = append(s.argv, s.word.String())
	}
	s.word.Reset()
	s.open = false
}

// SplitCommand splits a command line as a POSIX shell would: words, 'single'
// and "double" quotes, backslashes. What only a shell can do (| && ; > < $VAR
// $(..) `..` * ? [..] ~ # and K=V before the program) is refused where it is
// not quoted, because a program would get it as plain text.
func SplitCommand(line string) ([]string, error) {
	var s splitState
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			s.end()
			continue
		case c == '\'' || c == '"':
			n, err := s.quoted(line[i:])
			if err != nil {
				return nil, err
			}
			i += n
		case c == '\\':
			if i++; i == len(line) {
				return nil, invalid("the command ends in a backslash: quote it or remove it")
			}
			if line[i] == '\n' { // a continued line
				continue
			}
			s.word.WriteByte(line[i])
		default:
			if err := shellOnly(line, i, s.open); err != nil {
				return nil, err
			}
			s.word.WriteByte(c)
		}
		s.open = true
	}
	s.end()
	return s.argv, checkProgram(s.argv)
}

// quoted takes the quoted text that rest begins with and returns the index of
// its last byte.
func (s *splitState) quoted(rest string) (int, error) {
	q := rest[0]
	for i := 1; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == q:
			return i, nil
		case q == '"' && c == '\\' && i+1 < len(rest) && strings.IndexByte("\"\\$`\n", rest[i+1]) >= 0:
			if i++; rest[i] != '\n' {
				s.word.WriteByte(rest[i])
			}
		case q == '"' && (c == '`' || c == '$' && startsExpansion(rest[i:])):
			return 0, needsShell(expansionAt(rest[i:]))
		default:
			s.word.WriteByte(c)
		}
	}
	return 0, invalid("a quote (%c) is not closed: close it, or put a backslash before it", q)
}

// shellOnly refuses the unquoted byte at i where a shell would act on it.
func shellOnly(line string, i int, inWord bool) error {
	c, rest := line[i], line[i:]
	switch {
	case strings.HasPrefix(rest, "&&") || strings.HasPrefix(rest, "||") || strings.HasPrefix(rest, ">>"):
		return needsShell(rest[:2])
	case strings.IndexByte("|&;<>()*?`", c) >= 0:
		return needsShell(string(c))
	case c == '[' && strings.IndexByte(rest, ']') > 0:
		return needsShell("[")
	case c == '$' && startsExpansion(rest):
		return needsShell(expansionAt(rest))
	case !inWord && (c == '~' || c == '#'):
		return needsShell(string(c))
	}
	return nil
}

func startsExpansion(rest string) bool {
	if len(rest) < 2 {
		return false
	}
	c := rest[1]
	return c == '(' || c == '{' || c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func expansionAt(rest string) string {
	if rest[0] != '$' {
		return rest[:1]
	}
	if rest[1] == '(' {
		return "$(..)"
	}
	return "$"
}

func needsShell(what string) error {
	return invalid("%s has a meaning only in a shell: quote it, or run the command in one (`shell: true`, or [sh, -c, \"…\"])", what)
}

// checkProgram refuses a first word that a shell would take as an assignment.
func checkProgram(argv []string) error {
	if len(argv) > 0 && assignment.MatchString(argv[0]) {
		name, _, _ := strings.Cut(argv[0], "=")
		return invalid("%s= stands before the program: put the variable under env", name)
	}
	return nil
}
