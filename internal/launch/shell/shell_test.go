package shell

import (
	"slices"
	"strings"
	"testing"
)

func TestArgv(t *testing.T) {
	tests := map[string]string{
		"gunicorn app:app":              "exec gunicorn app:app",
		"A=1 B=\"x y\" server -p $PORT": "A=1 B=\"x y\" exec server -p $PORT",
		"server > /dev/null 2>&1":       "exec server > /dev/null 2>&1",
		"server 'a;b' \"c|d\" e\\;f":    "exec server 'a;b' \"c|d\" e\\;f",
		"server ${X:-1} a#b":            "exec server ${X:-1} a#b",
		"exec server":                   "exec server",
		"cd x && server":                "cd x && server",
		"cd x":                          "cd x",
		"if true":                       "if true",
		"server &":                      "server &",
		"a | b":                         "a | b",
		"a; b":                          "a; b",
		"a\nb":                          "a\nb",
		"server $(port)":                "server $(port)",
		"server \"$(port)\"":            "server \"$(port)\"",
		"server `port`":                 "server `port`",
		"server \"`port`\"":             "server \"`port`\"",
		"server # note":                 "server # note",
		"(server)":                      "(server)",
		"server 'open":                  "server 'open",
		"server \\":                     "server \\",
		"A=1":                           "A=1",
		"server &> /dev/null":           "server &> /dev/null",
		". ./env":                       ". ./env",
		"!":                             "!",
		"":                              "",
	}
	for script, want := range tests {
		if got := Argv(script); !slices.Equal(got, []string{"/bin/sh", "-c", want}) {
			t.Errorf("%q: %q", script, got)
		}
	}
}

func FuzzShell(f *testing.F) {
	for _, seed := range []string{"a b", "A=1 'x y' \"z\\\"\" >&2", "a;b", "'", "\\", "a\\\nb", "\"$(x)\""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, script string) {
		words, simple := Words(script)
		for _, w := range words {
			if w.start < 0 || w.start >= len(script) {
				t.Errorf("%q begins at %d", w.Text, w.start)
			}
		}
		got := Argv(script)[2]
		trimmed := strings.Trim(script, " \t\n")
		if got != trimmed && (!simple && strings.Trim(script, " \t\n") == script) {
			t.Errorf("%q became %q", script, got)
		}
		if got != trimmed && strings.Replace(got, "exec ", "", 1) != trimmed && len(got) != len(trimmed)+len("exec ") {
			t.Errorf("%q became %q", script, got)
		}
	})
}

func TestLive(t *testing.T) {
	for script, live := range map[string]bool{
		"a": false, "'$a'": false, `\$a`: false, `"a b"`: false, "$a": true, `"x$a"`: true, "a*": true, ">log": true, "2>&1": true,
		"~/x": true, "a{b,c}": true, `'*'`: false,
	} {
		words, simple := Words("x " + script)
		if !simple || len(words) != 2 || words[1].Live != live || words[1].Raw != script {
			t.Errorf("%s: %+v, %v", script, words, simple)
		}
	}
}

func TestFinish(t *testing.T) {
	for script, want := range map[string][]string{
		"a 'b c' d\\ e":    {"a", "b c", "d e"},
		"é 'ü' \"ß\" x\\ñ": {"é", "ü", "ß", "xñ"},
		"a $B":             {path, "-c", "exec a $B"},
		"A=1 b 'c d' >log": {path, "-c", "A=1 exec b 'c d' >log"},
		"A=1 b":            {path, "-c", "A=1 exec b"},
	} {
		words, _ := Words(script)
		if got := Finish(words); !slices.Equal(got, want) {
			t.Errorf("%s: %q", script, got)
		}
	}
	argv := []string{"a", "", "b c", "it's", "$x", "A=1", "-p=1"}
	if got := Finish(Plain(argv)); !slices.Equal(got, argv) {
		t.Errorf("%q", got)
	}
	words, simple := Words(Join(Plain(argv)))
	if got := Texts(words, 0); !simple || !slices.Equal(got, argv) {
		t.Errorf("%q, %v", got, simple)
	}
}
