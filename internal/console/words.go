package console

import (
	"strings"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/launch/shell"
)

// Words splits a line as a shell would: quotes and backslashes as ever, a word that
// begins with # and all behind it is a comment. Nothing is expanded; a pipe or a
// redirection is refused (E-USAGE), because there is no shell here.
func Words(line string) ([]string, error) {
	words, simple := shell.Words(uncommented(line))
	if !simple {
		return nil, fault.New(fault.Usage, "this is more than one command, or a quote is open").
			WithFix("one command a line, without | ; & ( ); quote what belongs to a word: '{\"a\": 1}'")
	}
	var texts []string
	for _, w := range words {
		if w.Live && strings.ContainsAny(w.Raw, "<>") {
			return nil, fault.New(fault.Usage, "%s: the console has no redirections", w.Raw).
				WithFix("pipe into the console and from it: echo status | muster console > FILE")
		}
		texts = append(texts, w.Text)
	}
	return texts, nil
}

// uncommented is the line without its comment.
func uncommented(line string) string {
	var quote byte
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && quote != '\'':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t'):
			return line[:i]
		}
	}
	return line
}

// partial are the words of a line that is being typed, up to the cursor; the last is
// the one to be completed, "" behind a space. raw is that word as it stands there.
func partial(line string) (words []string, raw string) {
	cut := strings.LastIndexAny(line, " \t") + 1
	whole, err := Words(line[:cut])
	if err != nil {
		return nil, ""
	}
	return append(whole, line[cut:]), line[cut:]
}
