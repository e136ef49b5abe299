package tree

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/muster-run/muster/spec"
)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Variables is what ${VAR} may refer to.
type Variables struct {
	Environ map[string]string
	DotEnv  map[string]string
}

// Lookup returns a variable and where it is from. The environment wins.
func (v *Variables) Lookup(name string) (value, from string, ok bool) {
	if value, ok = v.Environ[name]; ok {
		return value, "environment", true
	}
	if value, ok = v.DotEnv[name]; ok {
		return value, ".env", true
	}
	return "", "", false
}

// expandError says why a text cannot be expanded.
type expandError struct{ text, fix string }

// expand replaces ${VAR}, ${VAR:-default} and $$ in a text; any other $ stays.
// from lists the variables used and where each comes from.
func (v *Variables) expand(s string) (text, from string, bad *expandError) {
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
func (v *Variables) reference(inner string) (value, origin string, bad *expandError) {
	name, fallback, hasDefault := strings.Cut(inner, ":-")
	if !variableName.MatchString(name) {
		return "", "", &expandError{
			fmt.Sprintf("${%s} is not understood", inner), "write ${NAME} or ${NAME:-default}, or $${ for the text itself",
		}
	}
	value, from, ok := v.Lookup(name)
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

func (v *Variables) names() (names []string) {
	for name := range v.Environ {
		names = append(names, name)
	}
	for name := range v.DotEnv {
		names = append(names, name)
	}
	return names
}

// Escape is the inverse of expand.
func Escape(s string) string {
	var out strings.Builder
	for i := range len(s) {
		out.WriteByte(s[i])
		if s[i] == '$' && i+1 < len(s) && (s[i+1] == '$' || s[i+1] == '{') {
			out.WriteByte('$')
		}
	}
	return out.String()
}
