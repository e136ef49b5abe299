// Package shell reads and writes command lines as a POSIX shell does, as far as that
// can be done without running one.
//
// Words splits a script and says whether it is one simple command; what only a shell
// can know about a word (variables, patterns, redirections) makes it Live. Argv and
// Finish go the other way: to an argument vector, with a shell where one is needed.
// Nothing here fails: what is not understood is "not simple".
package shell

import (
	"regexp"
	"strings"
)

// path is the shell that runs scripts.
const path = "/bin/sh"

var assignment = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)

// Argv runs a script. A simple command replaces the shell, so that the
// worker's pid is the program's own.
func Argv(script string) []string {
	script = strings.Trim(script, " \t\n")
	words, simple := Words(script)
	if i := First(words); simple && i < len(words) && !builtin(words[i].Text) {
		at := words[i].start
		script = script[:at] + "exec " + script[at:]
	}
	return []string{path, "-c", script}
}

// Assigns says whether a word is an assignment, such as A=1.
func Assigns(word string) bool { return assignment.MatchString(word) }

// First is the index of the first word that is no assignment.
func First(words []Word) int {
	i := 0
	for i < len(words) && Assigns(words[i].Text) {
		i++
	}
	return i
}

// Word is one word of a command line.
type Word struct {
	// Text is the word without its quotes, Raw as it was written.
	Text, Raw string
	// Live says that only a shell can tell what it really is: a variable, a pattern,
	// a redirection.
	Live bool

	start int // in the script
}

// Texts are the words from index i on.
func Texts(words []Word, i int) []string {
	var out []string
	for ; i < len(words); i++ {
		out = append(out, words[i].Text)
	}
	return out
}

// builtin says whether a first word is a keyword or a command that only the
// shell itself can run. A leading exec does by itself what would be added.
func builtin(word string) bool {
	switch word {
	case "!", "{", "}", "[[", "case", "do", "done", "elif", "else", "esac", "fi", "for",
		"function", "if", "in", "select", "then", "time", "until", "while",
		".", ":", "alias", "bg", "break", "cd", "command", "continue", "eval", "exec",
		"exit", "export", "fg", "getopts", "hash", "jobs", "local", "read", "readonly",
		"return", "set", "shift", "source", "times", "trap", "type", "ulimit", "umask",
		"unalias", "unset", "wait":
		return true
	}
	return false
}

// lexer splits a script into words.
type lexer struct {
	words  []Word
	text   strings.Builder
	inWord bool
	at     int  // of the part that is being read
	start  int  // of the word
	last   byte // the byte before, outside of quotes
	live   bool // of the word
	script string
}

// Words splits a script as the shell would, without expanding anything.
// simple is false when it is more than one simple command, as far as can be seen:
// it has an operator, a substitution of a command, or an open quote. Redirections
// are fine.
func Words(script string) (words []Word, simple bool) {
	l := lexer{script: script}
	for l.at < len(script) {
		c, i := script[l.at], l.at
		n, ok := 1, true
		switch c {
		case '\'', '"':
			n, ok = l.quoted(script[i:])
		case '\\':
			n, ok = l.escaped(script[i:])
		default:
			ok = l.plain(c)
		}
		if !ok {
			return l.words, false
		}
		l.at += n
		l.last = c
	}
	l.end()
	return l.words, true
}

// plain takes one unquoted byte; false for an operator.
func (l *lexer) plain(c byte) bool {
	switch c {
	case ' ', '\t':
		l.end()
		return true
	case '&':
		if l.last != '>' && l.last != '<' { // 2>&1 is a redirection
			return false
		}
	case ';', '|', '(', ')', '`', '\n':
		return false
	case '#':
		if !l.inWord {
			return false // a comment; no need to be clever
		}
	}
	l.live = l.live || strings.IndexByte("$*?[]{}~<>!", c) >= 0
	l.add(l.script[l.at : l.at+1]) // not string(c): it may be a part of a rune
	return true
}

// quoted takes a quoted part and returns its length. A command substituted inside
// of double quotes may hold quotes of its own, so it is not simple.
func (l *lexer) quoted(s string) (n int, ok bool) {
	quote := s[0]
	l.add("")
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == quote:
			return i + 1, true
		case quote == '"' && (s[i] == '`' || strings.HasPrefix(s[i:], "$(")):
			return 0, false
		case quote == '"' && s[i] == '$':
			l.live = true
		case quote == '"' && s[i] == '\\' && i+1 < len(s) && strings.IndexByte("\\\"$`\n", s[i+1]) >= 0:
			i++
		}
		l.add(s[i : i+1])
	}
	return 0, false
}

// escaped takes a backslash and the byte behind it.
func (l *lexer) escaped(s string) (n int, ok bool) {
	if len(s) < 2 {
		return 0, false
	}
	if s[1] != '\n' {
		l.add(s[1:2])
	}
	return 2, true
}

func (l *lexer) add(s string) {
	if !l.inWord {
		l.inWord, l.start = true, l.at
	}
	l.text.WriteString(s)
}

func (l *lexer) end() {
	if l.inWord {
		l.words = append(l.words, Word{l.text.String(), l.script[l.start:l.at], l.live, l.start})
	}
	l.text.Reset()
	l.inWord, l.live = false, false
}

// Plain are words that mean what they are.
func Plain(argv []string) []Word {
	words := make([]Word, len(argv))
	for i, arg := range argv {
		words[i] = Word{Text: arg, Raw: quote(arg)}
	}
	return words
}

// quote writes a word so that a shell reads it as it is.
func quote(s string) string {
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_./:=,@%+", c)
	}
	if s != "" && strings.IndexFunc(s, func(c rune) bool { return !plain(c) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// Finish makes an argument vector of words: by a shell, where only one can tell
// what they are. Assignments need it, too.
func Finish(words []Word) []string {
	live := First(words) > 0
	for _, w := range words {
		live = live || w.Live
	}
	if live {
		return Argv(Join(words))
	}
	return Texts(words, 0)
}

// Join writes words as they were written.
func Join(words []Word) string {
	raw := make([]string, len(words))
	for i, w := range words {
		raw[i] = w.Raw
	}
	return strings.Join(raw, " ")
}
