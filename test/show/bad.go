package show

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-run/muster/test/rig"
)

// bad is a mistake of a user, and what muster must say about it.
type bad struct {
	name, yaml string
	code       int
	// says are texts of stderr: the fault's code, the place, the name.
	says []string
	// late: it depends on the host, so it is found when the app starts.
	late bool
}

func badFiles(addr string) []bad {
	app := func(rest string) string { return "version: 1\napps:\n  web:\n    command: sleep 1000\n" + rest }
	two := func(listen string) string { return "    command: sleep 1000\n    listen: " + listen + "\n" }
	return []bad{
		{name: "unknown key", yaml: app("    wrokers: 2\n"), code: 2, says: []string{"E-CONFIG", "muster.yaml:5:5", "workers"}},
		{name: "wrong type", yaml: app("    workers: many\n"), code: 2, says: []string{"E-CONFIG", "muster.yaml:5:14"}},
		{name: "two at once", yaml: app("    workers: many\n    stpo: {}\n"), code: 2, says: []string{"muster.yaml:5:", "muster.yaml:6:"}},
		{name: "not YAML", yaml: "version: 1\napps: [\n", code: 2, says: []string{"E-CONFIG", "muster.yaml:"}},
		{name: "empty", yaml: "", code: 2, says: []string{"E-CONFIG"}},
		{name: "no version", yaml: "apps:\n  web: {command: sleep 1}\n", code: 2, says: []string{"version"}},
		{name: "interval 0", yaml: app("    health: {http: 'http://127.0.0.1:1/', interval: 0}\n"), code: 2, says: []string{"muster.yaml:5:", "interval"}},
		{name: "cycle", yaml: "version: 1\napps:\n  a: {command: sleep 9, depends_on: [b]}\n  b: {command: sleep 9, depends_on: [a]}\n", code: 2, says: []string{"E-CONFIG", "depends_on", "a", "b"}},
		{name: "two apps on one port", yaml: "version: 1\napps:\n  a:\n" + two(addr) + "  b:\n" + two(addr), code: 2, says: []string{"E-CONFIG", addr}},
		{name: "unknown user", yaml: app("    user: nobody-of-that-name\n"), code: 2, says: []string{"E-USER-UNKNOWN", "nobody-of-that-name"}, late: true},
		{name: "socket path too long", yaml: app("    listen: unix:/tmp/" + strings.Repeat("x", 110) + "\n"), code: 2, says: []string{"muster.yaml:5:", "103"}},
		{name: "no such command", yaml: "version: 1\napps:\n  web:\n    command: ./no-such-program\n", code: 1, says: []string{"E-COMMAND-NOT-FOUND", "no-such-program"}},
		{name: "no permission", yaml: "version: 1\napps:\n  web:\n    command: ./muster.yaml\n", code: 1, says: []string{"E-COMMAND-DENIED", "muster.yaml"}},
		{name: "no such directory", yaml: app("    dir: ./no-such-dir\n"), code: 1, says: []string{"E-DIR-MISSING", "no-such-dir"}},
	}
}

// BadInput makes each mistake, once at the first start and once while good apps
// run: the answer has place, cause, fix and exit code, and nothing that runs
// changes.
func BadInput(t *testing.T) string {
	cases := badFiles(rig.Addr(t))
	for _, tc := range cases {
		t.Run(strings.ReplaceAll(tc.name, " ", "-"), func(t *testing.T) {
			p := rig.New(t, "")
			p.Write("muster.yaml", tc.yaml)
			tc.judge(t, p.Run("up", "-d"))
			p.Run("down")
			p.NothingLeft()
			if tc.code == 2 && !tc.late {
				tc.judge(t, p.Run("validate"))
				changesNothing(t, tc)
			}
		})
	}
	return fmt.Sprintf("%d mistakes, each with place, cause, fix and exit code", len(cases))
}

func (tc bad) judge(t *testing.T, r rig.Result) {
	t.Helper()
	if r.Code != tc.code {
		t.Errorf("exit code %d is wanted: %v", tc.code, r)
	}
	for _, s := range tc.says {
		if !strings.Contains(r.Stderr, s) {
			t.Errorf("%q is missing: %v", s, r)
		}
	}
	if strings.Contains(r.Stderr, "goroutine ") {
		t.Errorf("a panic: %v", r)
	}
}

func changesNothing(t *testing.T, tc bad) {
	t.Helper()
	p := rig.New(t, idleApp)
	p.Up()
	before, agent := p.PIDs("idle"), p.Status().AgentPID
	p.Write("muster.yaml", tc.yaml)
	tc.judge(t, p.Run("up"))
	p.Write("muster.yaml", idleApp)
	if after := p.PIDs("idle"); fmt.Sprint(before) != fmt.Sprint(after) || p.Status().AgentPID != agent {
		t.Errorf("a bad file changed what runs: %v, %v", before, after)
	}
	p.Down()
}

// LongSocketPath: a runtime directory that is too long for the control socket.
func LongSocketPath(t *testing.T) string {
	p := rig.New(t, idleApp)
	p.Env = append(p.Env, "MUSTER_RUNTIME_DIR="+p.Runtime+"/"+strings.Repeat("long", 25))
	bad{code: 2, says: []string{"E-SOCKET-PATH", "MUSTER_RUNTIME_DIR"}}.judge(t, p.Run("up", "-d"))
	p.NothingLeft()
	return "refused with the fix"
}

// FullDisk: a log on a full disk costs lines, not the worker.
func FullDisk(t *testing.T) string {
	p := rig.New(t, "")
	dir := filepath.Join(p.Dir, "logs")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	p.Write("muster.yaml", fmt.Sprintf(`version: 1
apps:
  chatty:
    command: [%s, ticks, "20000"]
    ready: alive
    log: {file: %s/chatty.log}
`, rig.Prop(), dir))
	script := fmt.Sprintf(`mount -t tmpfs -o size=64k none %s && %s up -d && %s status --json; cp %s/chatty.log ../copy 2>/dev/null; %s logs chatty -n 5; %s events; %s down`,
		dir, rig.Muster(), rig.Muster(), dir, rig.Muster(), rig.Muster(), rig.Muster())
	cmd := exec.Command("unshare", "--mount", "--", "/bin/sh", "-c", script)
	cmd.Dir, cmd.Env = p.Dir, p.Env
	r := p.Finish(cmd)
	if r.Code != 0 || !strings.Contains(r.Stdout, `"ready"`) {
		t.Errorf("a worker must live on when its log's disk is full: %v", r)
	}
	if !strings.Contains(r.Stdout+r.Stderr, "E-LOG-WRITE") {
		t.Errorf("nobody was told E-LOG-WRITE: %v", r)
	}
	if !strings.Contains(r.Stdout, "line 20000 of 20000") {
		t.Errorf("the last lines are not in memory: %v", r)
	}
	p.NothingLeft()
	return "worker lives on, told as E-LOG-WRITE, last lines in memory"
}
