package launch

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// project is a directory with these files; those under .bin and those that begin
// with #! are programs.
func project(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(text, "#!") {
			mode = 0o755
		}
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			if err := os.Symlink(target, path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func nodeApp(dir, line string) spec.App {
	a := app(split(line)...)
	a.Dir = dir
	return a
}

// What is Node.js by itself: the command stays as it is written.
func TestNodeCommands(t *testing.T) {
	dir := project(t, map[string]string{
		"server.js":        "",
		"run":              "#!/usr/bin/env node\n",
		"flags":            "#!/usr/bin/env -S node --no-warnings\n",
		"good.sh":          "#!/bin/sh\nset -e\ncd x\nexport A=1\nexec node server.js \"$@\"\n",
		"two.sh":           "#!/bin/sh\nnode migrate.js\nexec node server.js\n",
		"entry.sh":         "#!/bin/sh\nset -e\nif [ -z \"$1\" ]; then\n  set -- node \"$@\"\nfi\nexec \"$@\"\n",
		"migrate.sh":       "#!/bin/sh\nif true; then npx migrate; fi\nexec \"$@\"\n",
		"npm.sh":           "#!/bin/sh\nexec npm start\n",
		"echo.sh":          "#!/bin/sh\necho starting node now\nexec node server.js\n",
		"other.sh":         "#!/bin/sh\nexec ./server\n",
		"python.sh":        "#!/usr/bin/env python3\n",
		".nvm/shim/node20": "#!/bin/bash\nexec node \"$@\"\n",
	})
	on, off, warned := "on", "off", "warned"
	for line, want := range map[string]string{
		"node server.js":                                 on,
		"nodejs server.js --port 80":                     on,
		"/opt/node-22/bin/node server.mjs":               on,
		"node20 server.js":                               on,
		".nvm/shim/node20 server.js":                     on,
		"node --import tsx x.ts":                         on,
		"node -r dotenv/config --max-old-space-size=4 x": on,
		"node --max_http_header_size 4 x.js":             on,
		"node --enable-source-maps -- x.js":              on,
		"env A=1 node x.js":                              on,
		"env -u B A=1 nice -n 5 node x.js":               on,
		"tini -- node x.js":                              on,
		"gosu www node x.js":                             on,
		"timeout 60 node x.js":                           on,
		"sh -c 'node x.js'":                              on,
		"sh -c 'A=1 exec node x.js > log'":               on,
		"./run --port 80":                                on,
		"./flags":                                        on,
		"sh good.sh":                                     on,
		"./good.sh":                                      on,
		"./echo.sh":                                      on,
		"sh good.sh --port 80":                           on,
		"./entry.sh node x.js":                           on,
		"sh entry.sh env A=1 node x.js":                  on,
		"./entry.sh ./other.sh":                          off,
		"./entry.sh":                                     off,
		"sudo ./other.sh":                                off,
		"./migrate.sh node x.js":                         warned,
		"./entry.sh nodemon x.js":                        warned,
		"node node_modules/next/dist/bin/next start":     on,
		"node":                              off,
		"node -":                            off,
		"node -i":                           off,
		"node --version":                    off,
		"env -i node x.js":                  off,
		"bun x.js":                          off,
		"deno run x.ts":                     off,
		"gunicorn app:app":                  off,
		"./other.sh":                        off,
		"./python.sh":                       off,
		"python3 node.py":                   off,
		"./missing":                         off,
		"sh -c 'cd x; ./server'":            off,
		"node -e 1":                         warned,
		"node --input-type module -p 1":     warned,
		"node --watch x.js":                 warned,
		"node --test":                       warned,
		"node inspect x.js":                 warned,
		"sudo -u www node x.js":             warned,
		"./two.sh":                          warned,
		"./npm.sh":                          warned,
		"sh two.sh":                         warned,
		"sh -c 'node a.js && node b.js'":    warned,
		"sh -c 'cd x; npm start'":           warned,
		"bash -lc 'cd x && exec node x.js'": warned,
		"next start":                        warned,
		"nest start":                        warned,
		"./node_modules/.bin/nest start":    warned,
		"node node_modules/.bin/tsx x.ts":   warned,
		"node node_modules/tsx/dist/cli.mjs x.ts":       warned,
		"node /usr/lib/node_modules/npm/bin/npm-cli.js": warned,
		"concurrently a b":                              warned,
	} {
		a := nodeApp(dir, line)
		s := resolve(a)
		got := off
		if NodeCluster(a) {
			got = on
		} else if s.obstacle != nil && !s.obstacle.quiet {
			got = warned
		}
		if got != want {
			t.Errorf("%s: %s, want %s (%+v)", line, got, want, s.obstacle)
		}
		if command, ok := Resolved(a); ok {
			t.Errorf("%s: runs as %s", line, command)
		}
		if advice := Advise(a); got == warned && (len(advice) == 0 || advice[0].Code != fault.NodeLauncher || advice[0].Fix == "") {
			t.Errorf("%s: advice %+v", line, advice)
		}
	}
}

func TestNodeShell(t *testing.T) {
	for script, want := range map[string]bool{
		"node x.js":                    true,
		"A=1 node x.js --p $PORT 2>&1": true,
		"exec node x.js":               true,
		"node a.js && node b.js":       false,
		"cd x; node y.js":              false,
		"node x.js | tee log":          false,
		"./server":                     false,
	} {
		a := app(script)
		a.Shell = true
		if got := NodeCluster(a); got != want {
			t.Errorf("%s: %v", script, got)
		}
	}
}

func TestClusterWritten(t *testing.T) {
	for _, tt := range []struct {
		line    string
		kind    spec.Kind
		written spec.NodeCluster
		want    spec.NodeCluster
	}{
		{"node x.js", spec.Service, "", spec.NodeOn},
		{"node x.js", spec.Service, spec.NodeAuto, spec.NodeOn},
		{"node x.js", spec.Service, spec.NodeOff, spec.NodeOff},
		{"node x.js", spec.Service, spec.NodeDelegate, spec.NodeDelegate},
		{"node x.js", spec.Task, "", spec.NodeOff},
		{"./mine", spec.Service, "", spec.NodeOff},
		{"./mine", spec.Service, spec.NodeOn, spec.NodeOn},
		{"nodemon x.js", spec.Service, spec.NodeOn, spec.NodeOff},
		{"node -e 1", spec.Service, spec.NodeOn, spec.NodeOff},
	} {
		a := nodeApp("/", tt.line)
		a.Type, a.Node.Cluster = tt.kind, tt.written
		if got := ClusterOf(a); got != tt.want {
			t.Errorf("%+v: %s", tt, got)
		}
	}
}

// What stands for another command.
func TestLaunchersReplaced(t *testing.T) {
	bins := map[string]string{
		"server.js":                                "",
		"node_modules/fastify-cli/cli.js":          "#!/usr/bin/env node\n",
		"node_modules/.bin/fastify":                "-> ../fastify-cli/cli.js",
		"node_modules/.bin/native":                 "-> ../native/bin",
		"node_modules/native/bin":                  "\x7fELF",
		"node_modules/.bin/flagged":                "#!/usr/bin/env -S node --no-warnings\n",
		"node_modules/.bin/pnpmish":                "#!/bin/sh\nbasedir=$(dirname \"$0\")\nif [ -x \"$basedir/node\" ]; then\n  exec \"$basedir/node\" x\nelse\n  exec node x\nfi\n",
		"node_modules/.bin/next":                   "#!/usr/bin/env node\n",
		"node_modules/tsx/package.json":            "{}",
		"node_modules/ts-node/package.json":        "{}",
		"node_modules/.bin/tsx":                    "#!/usr/bin/env node\n",
		"node_modules/.bin/ts-node-transpile-only": "#!/usr/bin/env node\n",
	}
	for _, tt := range []struct{ scripts, line, want string }{
		{``, "npm start", "node server.js"},
		{``, "npm start -- --port 80", "node server.js --port 80"},
		{`"start": "node app.js"`, "npm start", "node app.js"},
		{`"start": "node app.js"`, "npm run start", "node app.js"},
		{`"start": "node app.js"`, "npm --silent start", "node app.js"},
		{`"start": "node app.js -v"`, "npm run start a -- --b 'c d'", "node app.js -v a --b 'c d'"},
		{`"start": "NODE_ENV=production node app.js"`, "npm start", "NODE_ENV=production node app.js"},
		{`"start": "cross-env NODE_ENV=production node app.js"`, "npm start", "NODE_ENV=production node app.js"},
		{`"start": "node app.js --port $PORT"`, "npm start", "node app.js --port $PORT"},
		{`"start": "npm run serve -- -x", "serve": "node app.js"`, "npm start", "node app.js -x"},
		{`"start": "fastify start app.js"`, "npm start", "node node_modules/fastify-cli/cli.js start app.js"},
		{`"start": "flagged a"`, "npm start", "node --no-warnings node_modules/.bin/flagged a"},
		{`"start": "pnpmish a"`, "npm start", "pnpmish a"},
		{`"start": "tsx app.ts"`, "npm start", "node --import tsx app.ts"},
		{`"start": "ts-node app.ts"`, "npm start", "node -r ts-node/register app.ts"},
		{`"start": "ts-node -T app.ts"`, "npm start", "node -r ts-node/register/transpile-only app.ts"},
		{`"start": "node app.js"`, "yarn start --port 80", "node app.js --port 80"},
		{`"start": "node app.js"`, "yarn run start", "node app.js"},
		{`"start": "node app.js"`, "corepack yarn start", "node app.js"},
		{`"start": "node app.js"`, "pnpm start", "node app.js"},
		{`"serve": "node app.js"`, "pnpm serve", "node app.js"},
		{``, "yarn fastify start", "node node_modules/fastify-cli/cli.js start"},
		{``, "yarn node app.js", "node app.js"},
		{``, "pnpm exec node app.js", "node app.js"},
		{``, "npm exec -- fastify start", "node node_modules/fastify-cli/cli.js start"},
		{``, "npx fastify start", "node node_modules/fastify-cli/cli.js start"},
		{``, "npx --yes tsx app.ts", "node --import tsx app.ts"},
		{``, "npx node app.js", "node app.js"},
		{`"serve": "node app.js"`, "node --run serve", "node app.js"},
		{`"start": "node app.js"`, "env A=1 nice npm start", "env A=1 nice node app.js"},
		{`"start": "B=2 node app.js"`, "nice npm start", "nice env B=2 node app.js"},
		{`"start": "node app.js"`, "sh -c 'npm start'", "node app.js"},
		{`"start": "node app.js"`, "tini -- npm start", "tini -- node app.js"},
		{``, "tsx app.ts", "node --import tsx app.ts"},
		{``, "cross-env A=1 node app.js", "A=1 node app.js"},
	} {
		files := map[string]string{"package.json": `{"name": "x", "version": "1.2.3", "scripts": {` + tt.scripts + `}}`}
		for name, text := range bins {
			files[name] = text
		}
		a := nodeApp(project(t, files), tt.line)
		got, ok := Resolved(a)
		if !ok || got != tt.want {
			t.Errorf("%s with %s: %q, want %q (%+v)", tt.line, tt.scripts, got, tt.want, resolve(a).obstacle)
		}
		if !NodeCluster(a) {
			t.Errorf("%s with %s: no cluster", tt.line, tt.scripts)
		}
		if name, wraps := WrapperOf(a); wraps && !strings.HasPrefix(tt.line, "tini") {
			t.Errorf("%s with %s: the wrapper %s is gone", tt.line, tt.scripts, name)
		}
	}
}

// What cannot be looked through gets no channel, and a warning that helps.
func TestLaunchersRefused(t *testing.T) {
	for _, tt := range []struct{ scripts, line, says string }{
		{`"start": "node app.js", "prestart": "tsc"`, "npm start", "write `command: node app.js` (and prestart under build:"},
		{`"start": "node app.js", "poststart": "x"`, "npm run start", "poststart"},
		{`"start": "tsc && node app.js"`, "npm start", "write the node command of that script alone"},
		{`"start": "node a.js & node b.js"`, "yarn start", "write the node command"},
		{`"start": "nodemon app.js"`, "npm start", "muster reload"},
		{`"start": "next start"`, "npm start", "node_modules/next/dist/bin/next start"},
		{`"start": "nest start"`, "yarn start", "node dist/main.js"},
		{`"start": "npm start"`, "npm start", "node command"},
		{`"x": "node a.js"`, "npm start", "package.json has no script start"},
		{`"start": "node a.js"`, "npm --prefix sub start", "write the server's own node command"},
		{`"start": "node a.js"`, "npm start --workspace x", "node command"},
		{``, "npx unknown-thing", "install unknown-thing"},
		{``, "npx -p x y", "node command"},
		{``, "npx tsx watch app.ts", ""},
		{``, "tsx app.ts", "node --import tsx SCRIPT"},
		{``, "pnpm dlx x", "node command"},
		{``, "npm", "node command"},
		{``, "bash -lc 'npm start && x'", "alone"},
	} {
		a := nodeApp(project(t, map[string]string{"package.json": `{"scripts": {` + tt.scripts + `}}`}), tt.line)
		if NodeCluster(a) {
			t.Errorf("%s with %s: a cluster", tt.line, tt.scripts)
		}
		if command, ok := Resolved(a); ok {
			t.Errorf("%s with %s: runs as %s", tt.line, tt.scripts, command)
		}
		c, err := Command(Worker{App: a, Dir: a.Dir, ChannelFD: 3, Number: 1, Preload: "/p"})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Join(c.Argv, " ") != strings.Join(a.Command, " ") || strings.Contains(strings.Join(c.Env, "\n"), "NODE_CHANNEL_FD") {
			t.Errorf("%s with %s: %q %q", tt.line, tt.scripts, c.Argv, c.Env)
		}
		if tt.says == "" {
			continue
		}
		found := false
		for _, f := range Advise(a) {
			found = found || f.Code == fault.NodeLauncher && strings.Contains(f.Fix, tt.says)
		}
		if !found {
			t.Errorf("%s with %s: %+v", tt.line, tt.scripts, Advise(a))
		}
		a.Node.Cluster = spec.NodeOn
		if err := Check(a); fault.CodeOf(err) != fault.NodeLauncher {
			t.Errorf("%s with %s, cluster on: %v", tt.line, tt.scripts, err)
		}
	}
	for name, text := range map[string]string{".npmrc": "node-options=--inspect\n", "package.json": "{"} {
		a := nodeApp(project(t, map[string]string{"server.js": "", "package.json": "{}", name: text}), "npm start")
		if NodeCluster(a) {
			t.Errorf("%s: a cluster", name)
		}
	}
	a := nodeApp(project(t, map[string]string{"server.js": "", "package.json": "{}", ".pnp.cjs": ""}), "yarn start")
	if got := Advise(a); len(got) != 1 || !strings.Contains(got[0].Fix, "-r ./.pnp.cjs") {
		t.Errorf("%+v", got)
	}
}

// What is wrong with one app is said before any advice about another.
func TestCheckAll(t *testing.T) {
	dir := t.TempDir()
	text := spec.App{Name: "text", Dir: dir, Command: []string{"node", "-e", "1"}}
	good := spec.App{Name: "good", Dir: dir, Command: []string{"sleep", "1"}}
	bad := spec.App{Name: "bad", Dir: dir, Command: []string{"sleep", "1"}, User: "no such user"}
	check := func(apps ...spec.App) (warned []string, err error) {
		err = CheckAll(spec.Spec{Apps: apps}, func(f fault.Fault) { warned = append(warned, f.Where+" "+string(f.Code)) })
		return warned, err
	}
	if warned, err := check(text, good); err != nil || !slices.Equal(warned, []string{"text E-NODE-LAUNCHER"}) {
		t.Errorf("%q, %v", warned, err)
	}
	if warned, err := check(text, bad); fault.CodeOf(err) != fault.UserUnknown || warned != nil {
		t.Errorf("%q, %v", warned, err)
	}
}

// A worker whose user cannot reach the preload starts without it.
func TestThePreloadBehindAClosedDirectory(t *testing.T) {
	dir := project(t, map[string]string{"server.js": "", "closed/run/preload.cjs": ""})
	for path := dir; len(path) > len(os.TempDir()); path = filepath.Dir(path) {
		if err := os.Chmod(path, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	closed := filepath.Join(dir, "closed")
	w := Worker{App: spec.App{
		Name: "web", Dir: dir, Command: []string{"node", "server.js"}, User: "54321", Group: "12345",
	}, Dir: dir, ChannelFD: 4, Number: 3, Preload: filepath.Join(closed, "run", "preload.cjs")}
	for _, c := range []struct {
		mode   os.FileMode
		barred string
	}{{0o711, ""}, {0o700, closed}, {0o710, closed}} {
		if err := os.Chmod(closed, c.mode); err != nil {
			t.Fatal(err)
		}
		if got := Barred(w.App, w.Preload); got != c.barred {
			t.Errorf("%o: barred by %q", c.mode, got)
		}
		cmd, err := Command(w)
		if err != nil {
			t.Fatal(err)
		}
		env := strings.Join(cmd.Env, "\n")
		if loads := strings.Contains(env, "preload.cjs"); loads != (c.barred == "") || !strings.Contains(env, "NODE_UNIQUE_ID=3") {
			t.Errorf("%o: %s", c.mode, env)
		}
		delegate := w
		delegate.App.Node.Cluster = spec.NodeDelegate
		if _, err := Command(delegate); (err == nil) != (c.barred == "") {
			t.Errorf("delegate, %o: %v", c.mode, err)
		}
	}
	w.App.User, w.App.Group = "", ""
	if got := Barred(w.App, w.Preload); got != "" {
		t.Errorf("this user is barred by %s", got)
	}
}
