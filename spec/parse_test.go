package spec

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseListen(t *testing.T) {
	long := "/run/" + strings.Repeat("x", 98)
	good := map[string]Listener{
		"8000":                {Network: "tcp", Address: ":8000"},
		":8000":               {Network: "tcp", Address: ":8000"},
		":08000":              {Network: "tcp", Address: ":8000"},
		"*:8000":              {Network: "tcp", Address: ":8000"},
		":0":                  {Network: "tcp", Address: ":0"},
		"127.0.0.1:8000":      {Network: "tcp", Address: "127.0.0.1:8000"},
		"0.0.0.0:80":          {Network: "tcp", Address: "0.0.0.0:80"},
		"[::1]:8000":          {Network: "tcp", Address: "[::1]:8000"},
		"[0:0:0:0:0:0:0:1]:8": {Network: "tcp", Address: "[::1]:8"},
		"localhost:80=http":   {Name: "http", Network: "tcp", Address: "localhost:80"},
		"tcp://:1":            {Network: "tcp", Address: ":1"},
		"tcp4://:1":           {Network: "tcp4", Address: ":1"},
		"tcp6://[::]:1":       {Network: "tcp6", Address: "[::]:1"},
		"udp://:53=dns":       {Name: "dns", Network: "udp", Address: ":53"},
		"udp6://[fe80::1%eth0]:53": {
			Network: "udp6", Address: "[fe80::1%eth0]:53",
		},
		"unix:/run/x.sock":    {Network: "unix", Address: "/run/x.sock", Mode: 0o600},
		"unix:///run/x.sock":  {Network: "unix", Address: "/run/x.sock", Mode: 0o600},
		"/run/x.sock=admin":   {Name: "admin", Network: "unix", Address: "/run/x.sock", Mode: 0o600},
		"./x.sock":            {Network: "unix", Address: "./x.sock", Mode: 0o600},
		"unix:" + long[:103]:  {Network: "unix", Address: long[:103], Mode: 0o600},
		"fd:3":                {Network: "fd", Address: "3"},
		"fd:http.socket=http": {Name: "http", Network: "fd", Address: "http.socket"},
	}
	for text, want := range good {
		got, err := ParseListen(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%q: %s", text, d)
		}
	}
	bad := map[string]string{
		"":                   "no address",
		"http":               "no address",
		":":                  "no port",
		":http":              "no port",
		":-1":                "no port",
		":70000":             "out of range",
		"::1:8000":           "brackets",
		"[1.2.3.4]:80":       "no IPv6",
		"1.2.3.400:80":       "neither a host name",
		"a b:80":             "neither a host name",
		"tcp6://1.2.3.4:80":  "network tcp6",
		"tcp4://[::1]:80":    "network tcp4",
		"http://:80":         "no network",
		"tpc://:80":          `did you mean "tcp"`,
		"unix:":              "missing",
		"unix:@abstract":     "abstract",
		"unix:/a\x00b":       "NUL",
		"unix:" + long + "x": "104 bytes, at most 103",
		"fd:2":               "begin at 3",
		"fd:":                "no inherited",
		"fd:a b":             "no inherited",
	}
	for text, want := range bad {
		_, err := ParseListen(text)
		var inv *Invalid
		if !errors.As(err, &inv) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzParseListen(f *testing.F) {
	for _, s := range []string{":80", "[::1]:80=x", "unix:/x", "fd:3", "udp6://:1", "localhost:1", "=", "a=b=c", "%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := ParseListen(s)
		if err != nil {
			return
		}
		// What was accepted is canonical: its key reads as itself.
		again, err := ParseListen(l.Key())
		if strings.Contains(l.Address, "=") {
			return // would be read as a name
		}
		if err != nil || again.Key() != l.Key() {
			t.Fatalf("%q gives %q, which gives %q (%v)", s, l.Key(), again.Key(), err)
		}
		if l.Name == "" {
			l.Name = "x"
		}
		var problems []Problem
		if l.Network != "unix" || strings.HasPrefix(l.Address, "/") {
			l.check(check{problems: &problems})
		}
		if problems != nil {
			t.Fatalf("%q is accepted, but %v", s, problems)
		}
	})
}

func TestParseHealth(t *testing.T) {
	want := DefaultHealth()
	for text, target := range map[string]Health{
		"http://127.0.0.1:{{port:http}}/healthz": {Type: "http", URL: "http://127.0.0.1:{{port:http}}/healthz"},
		"https://localhost/":                     {Type: "http", URL: "https://localhost/"},
		"tcp:127.0.0.1:80":                       {Type: "tcp", Address: "127.0.0.1:80"},
		"tcp://:{{port:http}}":                   {Type: "tcp", Address: ":{{port:http}}"},
		"tcp:/run/x.sock":                        {Type: "tcp", Address: "/run/x.sock"},
		"cmd:./check 'a b'":                      {Type: "cmd", Command: []string{"./check", "a b"}},
	} {
		want.Type, want.URL, want.Address, want.Command = target.Type, target.URL, target.Address, target.Command
		got, err := ParseHealth(text)
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%q: %v %s", text, err, d)
		}
	}
	for text, want := range map[string]string{
		"":                       "no health check",
		"ftp://x":                "no health check",
		"http:///x":              "no host",
		"http://x:99999/":        "out of range",
		"http://[::1/":           "no URL",
		"http://u:secret@[::1/x": "******",
		"tcp:":                   "no address",
		"tcp:localhost":          "no address",
		"tcp:a b:1":              "neither",
		"cmd:":                   "missing",
		"cmd:a | b":              "shell",
	} {
		if _, err := ParseHealth(text); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestParseSignal(t *testing.T) {
	for text, want := range map[string]string{
		"TERM": "SIGTERM", "SIGTERM": "SIGTERM", "sigterm": "SIGTERM", "15": "SIGTERM", "1": "SIGHUP", "QUIT": "SIGQUIT", "31": "SIGSYS", "winch": "SIGWINCH",
	} {
		if got, err := ParseSignal(text); got != want || err != nil {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{"": "write it", "0": "write it", "32": "write it", "SIGTREM": `"SIGTERM"`, "-9": "write it", "SIG": "write it"} {
		if got, err := ParseSignal(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func TestSplitCommand(t *testing.T) {
	for text, want := range map[string][]string{
		"":                                  nil,
		"  \t\n":                            nil,
		"node server.js":                    {"node", "server.js"},
		`a "b c" 'd e' f\ g ""`:             {"a", "b c", "d e", "f g", ""},
		`a"b"'c'`:                           {"abc"},
		`"a\"b\\c\d"`:                       {`a"b\c\d`},
		"a \\\n b":                          {"a", "b"},
		"\"a\\\nb\"":                        {"ab"},
		`'$HOME' '*' '|' '$(x)'`:            {"$HOME", "*", "|", "$(x)"},
		`a \$b \* \|`:                       {"a", "$b", "*", "|"},
		"uvicorn --fd {{fd:http}}":          {"uvicorn", "--fd", "{{fd:http}}"},
		`nginx -g "daemon off;"`:            {"nginx", "-g", "daemon off;"},
		"a=b c":                             nil,
		"x a=b $ $1x 5$":                    {"x", "a=b", "$", "$1x", "5$"},
		"x a#b a~b [ x !":                   {"x", "a#b", "a~b", "[", "x", "!"},
		"gunicorn 'app:make(\"x\")' -b x:1": {"gunicorn", `app:make("x")`, "-b", "x:1"},
	} {
		got, err := SplitCommand(text)
		if text == "a=b c" {
			if err == nil || !strings.Contains(err.Error(), "env") {
				t.Errorf("%q: %v", text, err)
			}
			continue
		}
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%q: %v %s", text, err, d)
		}
	}
	for text, want := range map[string]string{
		"a | b": "| has", "a && b": "&& has", "a || b": "|| has", "a; b": "; has", "a > b": "> has", "a >> b": ">> has", "a < b": "< has",
		"a $(b)": "$(..) has", "a `b`": "` has", "a *.js": "* has", "a b?": "? has", "a [ab]": "[ has", "a $HOME": "$ has", "a ${HOME}": "$ has",
		`a "$HOME"`: "$ has", "a \"`x`\"": "` has", "~/x": "~ has", "a # b": "# has", "(a)": "( has", "a &": "& has",
		"a 'b": "not closed", `a "b`: "not closed", `a \`: "backslash",
	} {
		if got, err := SplitCommand(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
}

func FuzzSplitCommand(f *testing.F) {
	f.Add(`a "b \" c" 'd' \e`)
	f.Fuzz(func(t *testing.T, s string) {
		argv, err := SplitCommand(s)
		if err != nil {
			return
		}
		// Written down as a shell would read it, it splits into the same.
		again, err := SplitCommand(joinCommand(argv))
		if err != nil || !cmp.Equal(again, argv) {
			t.Fatalf("%q is %q, written %s, then %q (%v)", s, argv, joinCommand(argv), again, err)
		}
	})
}

func TestNearest(t *testing.T) {
	known := []string{"listen", "limits", "log", "workers", "", "SIGTERM"}
	for word, want := range map[string]string{
		"lisen": "listen", "Listen": "listen", "lsiten": "listen", "worker": "workers", "xyz": "", "": "", "lgo": "log",
		"sigtrem": "SIGTERM", "zzzzzzzzzz": "", strings.Repeat("x", 200): "",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}
