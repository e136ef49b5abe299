package launch

import (
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

func app(command ...string) spec.App {
	a := spec.DefaultApp("web")
	a.Command = command
	a.Dir = "/srv/web"
	return a
}

// envOf is a worker's environment as a map.
func envOf(t *testing.T, w Worker) map[string]string {
	t.Helper()
	c, err := Command(w)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSorted(c.Env) {
		t.Error("the environment is not sorted")
	}
	env := map[string]string{}
	for _, kv := range c.Env {
		k, v, _ := strings.Cut(kv, "=")
		if _, twice := env[k]; twice {
			t.Errorf("%s stands twice", k)
		}
		env[k] = v
	}
	return env
}

func TestCommand(t *testing.T) {
	a := app("server", "--fd", "{{fd:admin}}", "--port={{ port:http }}", "{{.Go}} {{other:x}}")
	a.Listen = []spec.Listener{{Name: "http", Network: "tcp", Address: ":8000"}, {Name: "admin", Network: "unix", Address: "/run/a"}}
	a.Ports = []spec.Port{{Name: "http", Number: 9000, Increment: 1, Env: "PORT"}, {Name: "debug-x", Number: 9900}}
	a.Env = map[string]string{"NGINX": "{{fd:http}};{{fd:admin}};", "A": "app", "B": "app", "URL": "http://x:{{port:debug-x}}"}
	a.SlotEnv = map[int]map[string]string{2: {"B": "slot {{port:http}}"}, 3: {"B": "other"}}
	umask := spec.FileMode(0o027)
	a.Umask = &umask
	a.Limits.NoFile = 4096
	a.Watchdog = spec.Duration(3 * time.Second)
	w := Worker{
		App: a, Environ: []string{
			"A=environ", "Z=environ", "LISTEN_FDS=3", "LISTEN_PID=1", "NOTIFY_SOCKET=/run/systemd/notify",
			"MUSTER_PROC=outer", "MUSTER_CHANNEL_FD=5", "JOURNAL_STREAM=8:1", "WATCHDOG_PID=1", "broken", "=x",
		},
		Dir: "/srv/releases/7", Slot: 2, Generation: 5, Release: "7", ID: "web-2-5", Node: "n1",
		NotifySocket: "/run/muster/n",
	}
	c, err := Command(w)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"server", "--fd", "4", "--port=9002", "{{.Go}} {{other:x}}"}, c.Argv); diff != "" {
		t.Error(diff)
	}
	if c.ID != "web-2-5" || c.Dir != "/srv/releases/7" || c.Umask != a.Umask || c.Limits.NoFile != 4096 || c.Identity != nil || c.Files != nil || c.Meta != nil {
		t.Errorf("%+v", c)
	}
	want := map[string]string{
		"NGINX": "3;4;", "A": "app", "B": "slot 9002", "Z": "environ", "URL": "http://x:9900",
		"PORT": "9002", "PORT_HTTP": "9002", "PORT_DEBUG_X": "9900",
		"MUSTER_APP": "web", "MUSTER_ROLE": "web", "MUSTER_WORKER": "2", "NODE_APP_INSTANCE": "2", "MUSTER_GENERATION": "5",
		"MUSTER_RELEASE": "7", "MUSTER_NODE": "n1", "PWD": "/srv/releases/7",
		"NOTIFY_SOCKET": "/run/muster/n", "WATCHDOG_USEC": "3000000",
	}
	if diff := cmp.Diff(want, envOf(t, w)); diff != "" {
		t.Error(diff)
	}
	if a.Env["NGINX"] != "{{fd:http}};{{fd:admin}};" || a.Command[2] != "{{fd:admin}}" {
		t.Error("the spec was changed")
	}
}

func TestBareWorker(t *testing.T) {
	a := app("x")
	a.Ports = []spec.Port{{Name: "", Number: 80}}
	want := map[string]string{
		"PORT": "80", "MUSTER_APP": "web", "MUSTER_ROLE": "web", "MUSTER_WORKER": "0", "NODE_APP_INSTANCE": "0",
		"MUSTER_GENERATION": "0", "MUSTER_RELEASE": "", "PWD": "",
	}
	if diff := cmp.Diff(want, envOf(t, Worker{App: a})); diff != "" {
		t.Error(diff)
	}
}

func TestUnknownNames(t *testing.T) {
	a := app("x", "{{fd:nope}}")
	a.Listen = []spec.Listener{{Name: "http"}, {Name: "admin"}}
	env := app("x")
	env.Env = map[string]string{"A": "{{port:nope}}"}
	slot := app("x")
	slot.SlotEnv = map[int]map[string]string{0: {"A": "{{fd:}}"}}
	for _, tt := range []struct {
		app  spec.App
		says []string
	}{
		{a, []string{"{{fd:nope}}", "http, admin"}},
		{env, []string{"{{port:nope}}", "ports", "has none"}},
		{slot, []string{"{{fd:}}"}},
		{app(), []string{"empty"}},
		{app(""), []string{"empty"}},
	} {
		_, err := Command(Worker{App: tt.app})
		if fault.CodeOf(err) != fault.Config {
			t.Errorf("%v: %v", tt.app.Command, err)
			continue
		}
		for _, part := range tt.says {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q does not say %q", err, part)
			}
		}
	}
}

func TestPortOfAListener(t *testing.T) {
	a := app("x")
	a.Listen = []spec.Listener{{Name: "http", Address: "127.0.0.1:8000"}, {Name: "any", Address: ":0"}, {Name: "sock", Address: "/run/x"}}
	if got, err := Expand("{{port:http}}", a, 0); got != "8000" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for _, name := range []string{"any", "sock"} {
		if got, err := Expand("{{port:"+name+"}}", a, 0); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestHealth(t *testing.T) {
	a := app("x")
	if h, err := Health(a, 0); h != nil || err != nil {
		t.Errorf("%v, %v", h, err)
	}
	a.Ports = []spec.Port{{Name: "http", Number: 9000, Increment: 10}}
	a.Health = &spec.Health{URL: "http://127.0.0.1:{{port:http}}/", Address: ":{{port:http}}", Command: []string{"curl", "{{port:http}}"}}
	h, err := Health(a, 1)
	want := &spec.Health{URL: "http://127.0.0.1:9010/", Address: ":9010", Command: []string{"curl", "9010"}}
	if diff := cmp.Diff(want, h); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if a.Health.Command[1] != "{{port:http}}" {
		t.Error("the spec was changed")
	}
	a.Health.URL = "http://127.0.0.1:{{port:nope}}/"
	if _, err := Health(a, 1); fault.CodeOf(err) != fault.Config {
		t.Errorf("%v", err)
	}
}

func TestResolveDir(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"r1", "r2"} {
		if err := os.Mkdir(filepath.Join(base, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	a := app("x")
	a.Dir = filepath.Join(base, "current")
	for _, release := range []string{"r1", "r2"} { // a new one at every call
		_ = os.Remove(a.Dir)
		if err := os.Symlink(release, a.Dir); err != nil {
			t.Fatal(err)
		}
		if got, err := ResolveDir(a); err != nil || got != filepath.Join(base, release) {
			t.Errorf("%q, %v", got, err)
		}
	}
	if err := os.Remove(filepath.Join(base, "r2")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(base, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	loop := filepath.Join(base, "loop")
	if err := os.Symlink("loop", loop); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{a.Dir, filepath.Join(base, "nope"), file, loop} {
		b := a
		b.Dir = dir
		_, err := ResolveDir(b)
		if fault.CodeOf(err) != fault.DirMissing || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	a.Dir = ""
	here, err := filepath.EvalSymlinks(".")
	if err != nil {
		t.Fatal(err)
	}
	here, err = filepath.Abs(here)
	if got, bad := ResolveDir(a); err != nil || bad != nil || got != here {
		t.Errorf("own: %q, %v", got, bad)
	}
}

func TestIdentity(t *testing.T) {
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.ParseUint(nobody.Uid, 10, 32)
	gid, _ := strconv.ParseUint(nobody.Gid, 10, 32)
	tests := []struct {
		user, group string
		uid, gid    uint32
	}{
		{"nobody", "", uint32(uid), uint32(gid)},
		{nobody.Uid, "", uint32(uid), uint32(gid)},
		{"nobody", "root", uint32(uid), 0},
		{"nobody", "12345", uint32(uid), 12345},
		{"3999999999", "12345", 3999999999, 12345},
		{"", "12345", uint32(os.Geteuid()), 12345},
	}
	for _, tt := range tests {
		a := app("x")
		a.User, a.Group = tt.user, tt.group
		c, err := Command(Worker{App: a, Environ: []string{"HOME=/root", "USER=root"}})
		if err == nil && os.Geteuid() != 0 && int(tt.uid) == os.Geteuid() && int(tt.gid) == os.Getegid() {
			if c.Identity != nil { // nothing to change, and no right to
				t.Errorf("%q %q: %+v", tt.user, tt.group, c.Identity)
			}
			continue
		}
		if err != nil || c.Identity == nil || c.Identity.UID != tt.uid || c.Identity.GID != tt.gid {
			t.Errorf("%q %q: %+v, %v", tt.user, tt.group, c.Identity, err)
			continue
		}
		named := slices.Contains(c.Env, "HOME="+nobody.HomeDir) && slices.Contains(c.Env, "USER=nobody") && slices.Contains(c.Env, "LOGNAME=nobody")
		if named != (tt.user != "" && tt.uid == uint32(uid)) {
			t.Errorf("%q %q: %q", tt.user, tt.group, c.Env)
		}
	}
	a := app("x")
	a.User, a.Env = "nobody", map[string]string{"HOME": "/mine"}
	if got := envOf(t, Worker{App: a})["HOME"]; got != "/mine" {
		t.Errorf("HOME of env: %q", got)
	}
}

func TestSupplementaryGroups(t *testing.T) {
	a := app("x")
	a.User = "root"
	who, err := lookup(a)
	if os.Geteuid() != 0 {
		return // root is in every user database, but only root may be it
	}
	if err != nil || who.identity == nil || !slices.Contains(who.identity.Groups, 0) {
		t.Errorf("%+v, %v", who.identity, err)
	}
}

func TestIdentityFaults(t *testing.T) {
	for _, tt := range [][2]string{{"no such user", ""}, {"3999999999", ""}, {"nobody", "no such group"}, {"", "no such group"}, {"-1", "0"}, {"4294967295", "0"}, {"", "4294967295"}} {
		a := app("x")
		a.User, a.Group = tt[0], tt[1]
		if _, err := Command(Worker{App: a}); fault.CodeOf(err) != fault.UserUnknown {
			t.Errorf("%q: %v", tt, err)
		}
	}
}

// What the shell makes of the words is the real shell's business: the pid that was
// started must be the program's.
func TestShellIsReplaced(t *testing.T) {
	dir := t.TempDir()
	tests := map[string]bool{ // script → the pid is the program's own
		`sh -c 'echo $$'`:                      true,
		`  sh -c 'echo $$'  `:                  true,
		`X=1 Y='a b' sh -c 'echo $$'`:          true,
		`sh -c 'echo $$' 2>&1`:                 true,
		`sh -c 'echo $$' 2>` + dir + `/errors`: true,
		`"sh" -c "echo "'$$'`:                  true,
		`sh \` + "\n" + ` -c 'echo $$'`:        true,
		`exec sh -c 'echo $$'`:                 true,
		`true; sh -c 'echo $$' ; true`:         false,
		`true && sh -c 'echo $$' && true`:      false,
		`sh -c 'echo $$' | cat`:                false,
	}
	for script, own := range tests {
		a := app(script)
		a.Shell = true
		c, err := Command(Worker{App: a})
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(c.Argv[0], c.Argv[1:]...)
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("%s: %v", script, err)
			continue
		}
		if got := strings.TrimSpace(string(out)) == strconv.Itoa(cmd.Process.Pid); got != own {
			t.Errorf("%s: pid %s, started %d (%q)", script, strings.TrimSpace(string(out)), cmd.Process.Pid, c.Argv)
		}
	}
}

func TestDirPermission(t *testing.T) {
	err := dirFault(app("x"), os.ErrPermission)
	if fault.CodeOf(err) != fault.DirMissing || !errors.Is(err, os.ErrPermission) {
		t.Errorf("%v", err)
	}
}
