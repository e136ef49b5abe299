package config

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-run/muster/spec"
)

func TestFromRun(t *testing.T) {
	l, err := FromRun(RunFlags{
		N: "4", Listen: []string{":8000", "./x.sock=admin"}, Health: "tcp::8000", Env: []string{"A=1", "B=", "LANG", "TOKEN=geheim"},
		Command: []string{"node", "--inspect", "server.js", "-p", "1"}, Dir: "/srv", Ready: "alive:2s", StopSignal: "quit", StopTimeout: "5s", Stdin: "",
	}, []string{"LANG=C", "TERM=xterm", "Z=1", "MUSTER_APP=outer"})
	if err != nil {
		t.Fatal(err)
	}
	a := spec.DefaultApp("server")
	h := spec.DefaultHealth()
	h.Type, h.Address = "tcp", ":8000"
	a.Command, a.Dir, a.Workers, a.Health = []string{"node", "--inspect", "server.js", "-p", "1"}, "/srv", 4, &h
	a.Listen = []spec.Listener{{Name: "http", Network: "tcp", Address: ":8000"}, {Name: "admin", Network: "unix", Address: "/srv/x.sock", Mode: 0o600}}
	a.Env = map[string]string{"A": "1", "B": "", "LANG": "C", "TOKEN": "geheim"}
	a.Restart.Policy = spec.RestartOnFailure
	a.Ready.Mode, a.Ready.For = spec.ReadyAlive, spec.Duration(2*time.Second)
	a.Stop = spec.Stop{Signal: "SIGQUIT", Timeout: spec.Duration(5 * time.Second)}
	want := spec.Spec{Project: "run-server", Environ: []string{"LANG=C", "Z=1"}, Control: spec.Control{Mode: 0o600}, Apps: []spec.App{a}}
	if d := cmp.Diff(want, l.Spec); d != "" {
		t.Error(d)
	}
	for path, origin := range map[string]string{
		"apps.server.workers": "flag", "apps.server.env.A": "flag", "apps.server.restart.policy": "default", "apps.server.stop.signal": "flag",
		"apps.server.health.tcp": "flag", "apps.server.health.interval": "default", "apps.server.listen": "flag", "name": "default",
	} {
		if got := l.Origins[path]; got != origin {
			t.Errorf("%s is from %q, want %q", path, got, origin)
		}
	}
	if text := Show(l, true); strings.Contains(text, "geheim") || !strings.Contains(text, "workers: 4 # flag") {
		t.Error(text)
	}
}

// Arguments may be any bytes; to show them must not fail.
func TestFromRunBytes(t *testing.T) {
	l, err := FromRun(RunFlags{Command: []string{"./x", "\xff"}, Env: []string{"A=\xfe"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if text := Show(l, true); !strings.Contains(text, "command:") || l.Spec.Apps[0].Command[1] != "\xff" {
		t.Errorf("%q", text)
	}
}

func TestFromRunLeast(t *testing.T) {
	l, err := FromRun(RunFlags{Command: []string{"./x"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	a := l.Spec.Apps[0]
	if a.Dir != dir || a.Workers != 1 || a.Name != "x" || a.Restart.Policy != spec.RestartOnFailure || l.File != "" {
		t.Errorf("%+v", l)
	}
}

// All problems of the flags at once.
func TestFromRunProblems(t *testing.T) {
	_, err := FromRun(RunFlags{
		N: "many", Listen: []string{":80", "x", ":80=b"}, Health: "ftp://x", Env: []string{"NOPE", "LISTEN_FDS=1"}, Restart: "no", Name: "All",
		Project: "a/b", Command: []string{"x", "{{fd:htpp}}"}, Ready: "soon", StopSignal: "FOO", StopTimeout: "5", Stdin: "tty",
	}, nil)
	got := lines(t, err)
	want := []string{
		`-n: "many" is no whole number; write auto or a number from 1 to 1024`,
		`--health: "ftp://x" is no health check; write a URL (http://127.0.0.1:8000/healthz), tcp:127.0.0.1:8000 or cmd:./check.sh`,
		`--restart: "no" is not possible; write "never"`,
		`--ready: "soon" is not possible; write auto, notify, listening, probe, port, output or alive`,
		`--stop-signal: "FOO" is no signal; write it like SIGTERM, TERM or 15`,
		`--stop-timeout: "5" is no duration; write it like 500ms, 30s, 5m, 2h or 1d`,
		`--listen: "x" is no address to listen on; write it like :8000, 127.0.0.1:8000, [::1]:8000, udp://:53, unix:/run/app.sock or fd:3`,
		`--env: "NOPE" is not set in the environment; write NAME=value`,
		`--name: "All" cannot be the name of an app; use 1 to 63 of a-z 0-9 . _ -, the first a letter or digit`,
		`the command: {{fd:htpp}} names nothing; did you mean "http"?`,
		`--stdin: "tty" is not possible; write inherit, or remove it`,
		`--project: "a/b" cannot be the name of a project; use 1 to 64 of a-z 0-9 . _ -`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	_, err = FromRun(RunFlags{Listen: []string{":80", ":80=b"}}, nil)
	want = []string{
		"the command: the command is empty; write the program to run, like [\"./server\", \"--port\", \"8000\"]",
		"--listen: tcp://:80 is taken by listen[0] of the same app; choose another address for one of them",
	}
	if d := cmp.Diff(want, lines(t, err)); d != "" {
		t.Error(d)
	}
}

func TestNameOf(t *testing.T) {
	for command, want := range map[string]string{
		"node server.js": "server", "gunicorn app:app": "gunicorn", "/usr/bin/redis-server --port 1": "redis-server", "./web": "web",
		"python3 -m http.server 80": "http.server", "python3.12 app.py": "app", "python -u -m gunicorn x": "gunicorn", "node": "node", "node --inspect": "node",
		"bundle exec puma -p 1": "puma", "uv run uvicorn app:app": "uvicorn", "uv run python app.py": "app", "env A=1 B=2 ./My_Server": "my_server",
		"sh -c x": "sh", "sh ./start.sh": "start", "npm start": "npm", "npx serve": "serve", "java -Xmx1g -jar app.jar": "app", "go run ./cmd/web": "web",
		"...": "app", "all": "app", "": "app", "Ünï": "n", "x.production-build": "x.production-build", "/": "app",
	} {
		if got := nameOf(strings.Fields(command)); got != want {
			t.Errorf("%s is called %q, want %q", command, got, want)
		}
	}
}

func TestBaseEnviron(t *testing.T) {
	got := BaseEnviron(strings.Fields(`PATH=/bin A1=x A=1 A_B=2 TERM=xterm TERM_PROGRAM=t SHLVL=1 PWD=/ OLDPWD=/ _=x SSH_AUTH_SOCK=/s SSH_TTY=t
		XDG_SESSION_ID=1 XDG_RUNTIME_DIR=/run/u WINDOWID=1 COLUMNS=80 LINES=24 LS_COLORS=x DISPLAY=:0 NOTIFY_SOCKET=@x LISTEN_FDS=1 LISTEN_PID=2
		WATCHDOG_USEC=1 INVOCATION_ID=x JOURNAL_STREAM=1:2 MANAGERPID=1 MUSTER_CONFIG=x MUSTER_APP=y NODE_CHANNEL_FD=3 NODE_UNIQUE_ID=1 NODE_ENV=production
		TERMS=kept TMUX=x TMUX_PANE=y LANG=C LANG=de HOME=/h PORT=80 =odd broken SUDO_USER=u EMPTY=`))
	want := []string{
		"A=1", "A1=x", "A_B=2", "EMPTY=", "HOME=/h", "LANG=de", "NODE_ENV=production", "PATH=/bin", "PORT=80", "TERMS=kept", "XDG_RUNTIME_DIR=/run/u",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got := BaseEnviron(got); !slices.Equal(got, want) {
		t.Errorf("twice: %q", got)
	}
	if got := BaseEnviron(nil); len(got) != 0 {
		t.Error(got)
	}
}
