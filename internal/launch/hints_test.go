package launch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/launch/shell"
	"github.com/muster-run/muster/spec"
)

// split splits a test's command line; a part in quotes is one argument.
func split(line string) []string {
	words, _ := shell.Words(line)
	return shell.Texts(words, 0)
}

func TestPrograms(t *testing.T) {
	tests := []struct{ line, program, signal, wrapper string }{
		{"unicorn -c u.rb", "unicorn", "SIGQUIT", ""},
		{"/usr/bin/unicorn_rails", "unicorn", "SIGQUIT", ""},
		{"bundle exec unicorn -c u.rb", "unicorn", "SIGQUIT", ""},
		{"bundle exec --keep-file-descriptors unicorn", "unicorn", "SIGQUIT", ""},
		{"ruby /usr/bin/unicorn", "unicorn", "SIGQUIT", ""},
		{"ruby3.1 -I lib -S unicorn", "unicorn", "SIGQUIT", ""},
		{"bundle exec puma", "puma", "", ""},
		{"nginx -g 'daemon off;'", "nginx", "SIGQUIT", ""},
		{"/usr/local/openresty/bin/openresty", "nginx", "SIGQUIT", ""},
		{"php-fpm8.2 -F", "php-fpm", "SIGQUIT", ""},
		{"php-fpm -F", "php-fpm", "SIGQUIT", ""},
		{"/usr/sbin/php-fpm81 -F", "php-fpm", "SIGQUIT", ""},
		{"lighttpd -D -f l.conf", "lighttpd", "SIGINT", ""},
		{"haproxy -W -f h.cfg", "haproxy", "SIGUSR1", ""},
		{"apache2 -DFOREGROUND", "apache", "SIGWINCH", ""},
		{"httpd -DFOREGROUND", "apache", "SIGWINCH", ""},
		{"/usr/lib/postgresql/15/bin/postgres -D x", "postgres", "SIGINT", ""},
		{"python3 -m gunicorn app:app", "gunicorn", "", ""},
		{"/venv/bin/python3.11 -u -W error /venv/bin/gunicorn app:app", "gunicorn", "", ""},
		{"gunicorn3 app:app", "gunicorn", "", ""},
		{"python3 server.py", "python", "", ""},
		{"python3 -c 'import x'", "python", "", ""},
		{"python3", "python", "", ""},
		{"node server.js", "node", "", ""},
		{"uwsgi --ini x", "uwsgi", "", ""},
		{"env -u HOME A=1 -i nginx", "nginx", "SIGQUIT", ""},
		{"nice -n 5 ionice -c 3 nohup haproxy -f x", "haproxy", "SIGUSR1", ""},
		{"gosu www nginx", "nginx", "SIGQUIT", ""},
		{"tini -- nginx", "nginx", "SIGQUIT", "tini"},
		{"timeout -k 5 60 nginx", "nginx", "SIGQUIT", "timeout"},
		{"sudo -u www nginx", "nginx", "SIGQUIT", "sudo"},
		{"sh -c 'exec gunicorn app:app'", "gunicorn", "", ""},
		{"sh -c 'A=1 exec nginx -x'", "nginx", "SIGQUIT", ""},
		{"sh -c 'nginx -x'", "nginx", "SIGQUIT", "sh -c"},
		{"bash -lc 'nginx -x'", "nginx", "SIGQUIT", ""},
		{"bash -e -c 'cd x && nginx'", "bash", "", "bash -c"},
		{"sh -c", "sh", "", ""},
		{"sh", "sh", "", ""},
		{"npm start", "npm", "", "npm start"},
		{"npm run serve", "npm", "", "npm run"},
		{"npm exec -- serve -l 3", "serve", "", "npm exec"},
		{"npx serve", "serve", "", "npx"},
		{"npx -y nodemon x.js", "nodemon", "", "npx"},
		{"yarn start", "yarn", "", "yarn start"},
		{"pnpm dlx serve", "serve", "", "pnpm dlx"},
		{"poetry run gunicorn app:app", "gunicorn", "", "poetry run"},
		{"uv run gunicorn app:app", "gunicorn", "", "uv run"},
		{"uv run -- python -m gunicorn", "gunicorn", "", "uv run"},
		{"uv pip install x", "uv", "", ""},
		{"pipenv run uvicorn x", "uvicorn", "", "pipenv run"},
		{"go run ./cmd/x", "go", "", "go run"},
		{"make serve", "make", "", "make"},
		{"pm2-runtime app.js", "pm2-runtime", "", "pm2-runtime"},
		{"no-such-program-anywhere", "no-such-program-anywhere", "", ""},
		{"8080", "8080", "", ""},
		{"./server2", "server2", "", ""},
		{"postmaster", "postgres", "SIGINT", ""},
		{"pypy3 -m gunicorn", "gunicorn", "", ""},
	}
	for _, tt := range tests {
		argv := split(tt.line)
		f := look(argv, "")
		if signal := programs()[f.program].stop; f.program != tt.program || signal != tt.signal || f.wrapper != tt.wrapper {
			t.Errorf("%s: %+v, ended by %q", tt.line, f, signal)
		}
	}
	if f := look(nil, ""); f.program != "" || f.wrapper != "" {
		t.Errorf("no command: %+v", f)
	}
	loop := split(strings.Repeat("env ", 100) + "nginx")
	look(loop, "") // ends
}

// script writes an executable file.
func script(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestScripts(t *testing.T) {
	dir := t.TempDir()
	tests := []struct{ text, program, wrapper string }{
		{"#!/bin/sh\nset -e\nexec unicorn -c u.rb\n", "unicorn", ""},
		{"#!/bin/bash -e\nexport A=1\nexec bundle exec puma \"$@\"\n# end\n", "puma", ""},
		{"#!/usr/bin/env bash\nexec env A=1 nginx\n", "nginx", ""},
		{"#!/bin/sh\ncd x\nunicorn\n", "run", "the shell script "},
		{"#!/usr/sbin/haproxy -f\nfrontend x\n", "haproxy", ""},
		{"#!/usr/bin/env -S uwsgi --ini\n[uwsgi]\n", "uwsgi", ""},
		{"#!/usr/bin/python3\nprint()\n", "run", ""},
		{"\x7fELF\x00", "run", ""},
		{"", "run", ""},
		{"#!\n", "run", ""},
		{"#!/usr/bin/env\n", "run", ""},
	}
	for _, tt := range tests {
		path := script(t, dir, "run", tt.text)
		f := look([]string{path}, "")
		if f.program != tt.program {
			t.Errorf("%q: %q", tt.text, f.program)
		}
		want := tt.wrapper
		if want != "" {
			want += path
		}
		if f.wrapper != want {
			t.Errorf("%q: wrapper %q", tt.text, f.wrapper)
		}
	}
	script(t, dir, "run", "#!/bin/sh\nexec nginx\n")
	a := app("./run")
	a.Dir, a.Stop.Signal = dir, ""
	if got := StopSignal(a); got != "SIGQUIT" {
		t.Errorf("relative to dir: %s", got)
	}
	a.Command = []string{"sh", "run"}
	if got := StopSignal(a); got != "SIGQUIT" {
		t.Errorf("as an argument of sh: %s", got)
	}
	t.Setenv("PATH", dir)
	if got := look([]string{"run"}, "").program; got != "nginx" {
		t.Errorf("in PATH: %s", got)
	}
}

func TestStopSignal(t *testing.T) {
	a := app("nginx")
	if got := StopSignal(a); got != a.Stop.Signal && a.Stop.Signal != "" {
		t.Errorf("written: %s", got)
	}
	a.Stop.Signal = "SIGTERM"
	if got := StopSignal(a); got != "SIGTERM" {
		t.Errorf("written: %s", got)
	}
	a.Stop.Signal = ""
	if got := StopSignal(a); got != "SIGQUIT" {
		t.Errorf("nginx: %s", got)
	}
	a.Command = []string{"node", "x.js"}
	if got := StopSignal(a); got != "SIGTERM" {
		t.Errorf("node: %s", got)
	}
	a.Command, a.Shell = []string{"cd x && unicorn"}, true
	if got := StopSignal(a); got != "SIGTERM" {
		t.Errorf("behind a shell that stays, the signal is for the shell: %s", got)
	}
	a.Command = []string{"A=1 unicorn -c x"}
	if got := StopSignal(a); got != "SIGQUIT" {
		t.Errorf("exec'd by the shell: %s", got)
	}
}

func TestWrapperOf(t *testing.T) {
	a := app("cd x && npm start")
	a.Shell = true
	if got, ok := WrapperOf(a); got != "sh -c" || !ok {
		t.Errorf("%q", got)
	}
	a.Command = []string{"npm start"}
	if got, ok := WrapperOf(a); got != "npm start" || !ok {
		t.Errorf("%q", got)
	}
	a.Command = []string{"nginx"}
	if got, ok := WrapperOf(a); ok {
		t.Errorf("%q", got)
	}
}

func TestAdvise(t *testing.T) {
	tests := []struct {
		line   string
		listen bool
		codes  []fault.Code
		says   string
	}{
		{"gunicorn app:app", true, nil, ""},
		{"gunicorn --bind :80 app:app", false, nil, ""},
		{"gunicorn --bind=:80 app:app", true, []fault.Code{fault.Config}, "--bind is ignored"},
		{"python -m gunicorn -b :80 --reload -D app:app", true, []fault.Code{fault.Config, fault.Config, fault.Config}, "-b is ignored"},
		{"npm start", true, []fault.Code{fault.ListenPID}, "npm start runs the server"},
		{"npm start", false, nil, ""},
		{"uv run uvicorn --fd {{fd:http}} x", true, nil, ""},
		{"uv run uvicorn x", true, []fault.Code{fault.ListenPID}, "uv run"},
		{"pm2-runtime app.js", true, []fault.Code{fault.Config}, "supervises"},
		{"npx nodemon app.js", false, []fault.Code{fault.Config}, "supervises"},
		{"uwsgi --ini x", false, []fault.Code{fault.StopKilled}, "reload"},
		{"uwsgi --die-on-term --ini x", false, nil, ""},
	}
	for _, tt := range tests {
		a := app(split(tt.line)...)
		a.Stop.Signal = ""
		if tt.listen {
			a.Listen = []spec.Listener{{Name: "http", Network: "tcp", Address: ":80"}}
		}
		got := Advise(a)
		if len(got) != len(tt.codes) {
			t.Errorf("%s: %+v", tt.line, got)
			continue
		}
		for i, f := range got {
			if f.Code != tt.codes[i] || f.Where != "web" || f.Fix == "" {
				t.Errorf("%s: %+v", tt.line, f)
			}
		}
		if len(got) > 0 && !strings.Contains(got[0].Text, tt.says) {
			t.Errorf("%s: %q", tt.line, got[0].Text)
		}
	}
	a := app("npm", "start")
	a.Listen = []spec.Listener{{Name: "http"}}
	a.SlotEnv = map[int]map[string]string{0: {"FD": "{{fd:http}}"}}
	if got := Advise(a); len(got) != 0 {
		t.Errorf("a descriptor by the environment: %+v", got)
	}
}

// nginx takes an inherited socket as it is: a worker that comes too late for a
// connection would hang in accept, with all its other connections.
func TestNonBlocking(t *testing.T) {
	for command, want := range map[string]bool{"nginx": true, "env A=1 nginx": true, "gunicorn": false, "./server": false} {
		if got := NonBlocking(app(strings.Fields(command)...)); got != want {
			t.Errorf("%s: %v", command, got)
		}
	}
}

func TestHangsUp(t *testing.T) {
	for command, want := range map[string]bool{
		"gunicorn app:app":                                             false,
		"gunicorn --threads 1 app:app":                                 false,
		"gunicorn --threads 8 app:app":                                 true,
		"gunicorn --threads=8 app:app":                                 true,
		"gunicorn -k gthread app:app":                                  true,
		"gunicorn --worker-class sync app:app":                         false,
		"python3 -m gunicorn -k uvicorn.workers.UvicornWorker app:app": true,
		"uvicorn app:app --fd 3":                                       true,
		"puma":                                                         false,
		"sleep 100":                                                    false,
	} {
		if got := HangsUp(spec.App{Command: strings.Fields(command)}); got != want {
			t.Errorf("%s: %v", command, got)
		}
	}
}
