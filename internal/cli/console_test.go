package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/internal/agent"
)

// place is a project with an app web of two workers, for one test.
type place struct {
	dir  string
	env  []string
	root agent.Roots
}

const webFile = `version: 1
name: shop
apps:
  web:
    command: sh -c 'trap "exit 0" TERM; echo hello; while :; do sleep 0.05; done'
    workers: 2
    ready: alive:10ms
`

func newPlace(t *testing.T) place {
	t.Helper()
	dir, err := os.MkdirTemp("", "mc")
	if err != nil {
		t.Fatal(err)
	}
	p := place{dir: dir, root: agent.Roots{State: dir + "/s", Runtime: dir + "/r"}}
	if err := os.WriteFile(filepath.Join(dir, "muster.yaml"), []byte(webFile), 0o600); err != nil {
		t.Fatal(err)
	}
	p.env = append(os.Environ(), "PATH="+os.Getenv(programs)+":"+os.Getenv("PATH"), "HOME="+dir, "TERM=xterm",
		"MUSTER_STATE_DIR="+p.root.State, "MUSTER_RUNTIME_DIR="+p.root.Runtime, "CI=", "NO_COLOR=", "COLUMNS=")
	t.Cleanup(func() {
		for _, r := range p.root.Running() {
			_ = syscall.Kill(r.PID, syscall.SIGTERM)
			eventually(t, "the agent ends", func() bool { _, held := agent.LockHolder(p.root.Key(r.Key)); return !held })
		}
		os.RemoveAll(dir)
	})
	return p
}

// command is muster in the place.
func (p place) command(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(os.Getenv(programs), "muster"), args...)
	cmd.Dir, cmd.Env = p.dir, p.env
	return cmd
}

// muster runs a command line and returns what it printed and its exit code.
func (p place) muster(t *testing.T, input string, args ...string) (out string, code int) {
	t.Helper()
	cmd := p.command(args...)
	cmd.Stdin = strings.NewReader(input)
	text, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(awaitDeadline); time.Now().Before(end); <-tick.C {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func (p place) up(t *testing.T) {
	t.Helper()
	if out, code := p.muster(t, "", "up", "-d"); code != 0 {
		t.Fatalf("up: %d\n%s", code, out)
	}
}

// prompt of a healthy project.
const prompt = `shop Healthy> `

// S1.10: typed at a prompt.
func TestConsoleOnTerminal(t *testing.T) {
	p := newPlace(t)
	p.up(t)
	v := onTerminal(t, p, "console")
	v.expect(prompt)
	v.typed("status web\r")
	v.expect(`web#0\s+ready`)
	v.expect(prompt)

	v.typed("sta\t")
	v.expect(`(?s)start .*startup.*status`)
	v.typed("t\t-q\x01\x05\r") // Home, End
	v.expect(`Healthy  2/2`)
	v.expect(prompt)
	v.typed("restart web#\t\t")
	v.expect(`(?s)web#0.*web#1`)
	v.typed("0 cl\t\r")
	v.expect(`web: .*restarted|web: restarted`)
	v.expect(prompt)

	v.typed("\x1b[A") // up: the last line
	v.expect(`restart web#0 clean`)
	v.typed("\x03") // drops it
	v.expect(prompt)
	v.typed("\x12") // Ctrl-R
	v.expect(`restart web#0 clean`)
	v.typed("\x15stat\x12")
	v.expect(`status -q`)
	v.typed("\x03")
	v.expect(prompt)

	v.typed("relod web\r")
	v.expect(`did you mean "reload"`)
	v.expect(prompt)
	v.typed("reload nowhere\r")
	v.expect(`E-NO-APP`)
	v.expect(prompt)
	v.typed("run -- true\r")
	v.expect(`makes no sense in a console`)
	v.expect(prompt)
	v.typed("exec web -- sh -c 'echo $MUSTER_APP; exit 3'\r")
	v.expect("\nweb\r\n")
	v.expect(prompt)

	v.typed("\x04")
	if code := v.ended(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if !v.cooked() {
		t.Error("the terminal is left raw")
	}
	file := filepath.Join(p.root.State, p.root.Running()[0].Key, "console.history")
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("history: %v %v", info, err)
	}
	if text, _ := os.ReadFile(file); !strings.Contains(string(text), "restart web#0 clean\n") {
		t.Errorf("history: %q", text)
	}
}

// What happens is told above the line that is being typed, which stays.
func TestConsoleEventWhileTyping(t *testing.T) {
	p := newPlace(t)
	p.up(t)
	v := onTerminal(t, p, "console")
	v.expect(prompt)
	v.typed("status we")
	v.expect(`status we`)
	if out, code := p.muster(t, "", "restart", "web#1"); code != 0 {
		t.Fatalf("%d: %s", code, out)
	}
	v.expect(`web#1 ready`)
	v.expect(`> status we`)
	v.typed("b#1\r")
	v.expect(`web#1\s+ready`)
	v.expect(prompt)
	v.typed("mute\r")
	v.expect(prompt)
	if out, code := p.muster(t, "", "restart", "web#0"); code != 0 {
		t.Fatalf("%d: %s", code, out)
	}
	v.typed("version\r")
	if got := v.expect(`(?s).*muster .*` + prompt); strings.Contains(got, "web#0 ready") {
		t.Errorf("muted, it prints %q", got)
	}
	v.typed("quit\r")
	v.ended()
}

// Ctrl-C ends a command that goes on for ever, and not the console.
func TestConsoleInterrupt(t *testing.T) {
	p := newPlace(t)
	p.up(t)
	v := onTerminal(t, p, "console")
	v.expect(prompt)
	for _, command := range []string{"logs -f", "events -f", "exec web -- sh -c 'echo hello; exec sleep 100'"} {
		v.typed(command + "\r")
		v.expect(`(?s)\r\n.*(hello|ready)`)
		eventually(t, "a command has the terminal", v.cooked)
		v.typed("\x03")
		v.expect(prompt)
	}
	v.typed("exit clean\r")
	v.expect(`what runs goes on`)
	v.ended()
	if out, code := p.muster(t, "", "status"); code != 0 {
		t.Errorf("%d: %s", code, out)
	}
}

// A console outlives its session, and that one's successor is there again.
func TestConsoleSurvivesSession(t *testing.T) {
	p := newPlace(t)
	p.up(t)
	v := onTerminal(t, p, "console")
	v.expect(prompt)
	v.typed("down\r")
	v.expect(`not running> `)
	v.typed("status\r")
	v.expect(`E-NOT-RUNNING`)
	v.typed("up\r")
	v.expect(`makes no sense`)
	v.expect(`> `)
	p.up(t)
	v.expect(`runs again`)
	v.typed("status -q\r")
	v.expect(prompt)
	v.typed("quit\r")
	v.ended()
}

// up --console: quit leaves the session alone, exit ends it.
func TestAttachedConsole(t *testing.T) {
	p := newPlace(t)
	v := onTerminal(t, p, "up", "--console")
	v.expect(`web#\d ready`)
	v.expect(prompt) // it is Healthy
	v.typed("\rstatus web\r")
	v.expect(`web#0\s+ready`)
	v.expect(prompt)
	v.typed("logs -f\r")
	v.expect(`hello`)
	eventually(t, "a command has the terminal", v.cooked)
	v.typed("\x03") // the command's, not the session's
	v.expect(prompt)
	v.typed("exit clean\r")
	v.expect(`shop is down`)
	if code := v.ended(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if !v.cooked() {
		t.Error("the terminal is left raw")
	}
}

func TestAttachedConsoleQuit(t *testing.T) {
	p := newPlace(t)
	v := onTerminal(t, p, "up", "--console")
	v.expect(`web#\d ready`)
	v.expect(prompt) // it is Healthy
	v.typed("\x04")
	v.expect(`left the console`)
	if out, code := p.muster(t, "", "restart", "web#1"); code != 0 {
		t.Fatalf("%d: %s", code, out)
	}
	v.expect(`web#1 ready`)
	v.typed("\x03") // the session's again
	if code := v.ended(); code != 130 && code != 0 {
		t.Errorf("exit code %d", code)
	}
	if !v.cooked() {
		t.Error("the terminal is left raw")
	}
}

// A console that is killed takes nothing with it, and the terminal is put right.
func TestAttachedConsoleKilled(t *testing.T) {
	p := newPlace(t)
	v := onTerminal(t, p, "up", "--console")
	v.expect(`web#\d ready`)
	v.expect(prompt) // it is Healthy
	eventually(t, "the console has the terminal", func() bool { return v.front() != v.cmd.Process.Pid && !v.cooked() })
	if err := syscall.Kill(v.front(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	v.expect(`the console is gone`)
	if !v.cooked() || v.front() != v.cmd.Process.Pid {
		t.Errorf("the terminal is not put right: group %d, not %d", v.front(), v.cmd.Process.Pid)
	}
	if out, code := p.muster(t, "", "status"); code != 0 {
		t.Errorf("%d: %s", code, out)
	}
	v.typed("\x03")
	v.ended()
}

// Piped: one command a line, no prompt, no colour, until one fails.
func TestConsolePiped(t *testing.T) {
	p := newPlace(t)
	if out, code := p.muster(t, "status\nversion\n", "console"); code != 3 || strings.Contains(out, "go1") {
		t.Errorf("nothing runs: %d %q", code, out)
	}
	for _, args := range [][]string{{"up", "--console"}, {"run", "--console", "--", "true"}, {"up", "--console", "--no-keeper"}} {
		if out, code := p.muster(t, "", args...); code != 2 || !strings.Contains(out, "--console") {
			t.Errorf("%q: %d %q", args, code, out)
		}
	}
	p.up(t)
	for _, c := range []struct {
		input, out string
		code       int
	}{
		{"", `^$`, 0},
		{"# nothing\n\n  \n", `^$`, 0},
		{"status # all\nversion", `(?s)^APP .*web .*muster `, 0},
		{"stop web#1 force\nstart web#1\n", `(?s)web: .*stopped.*web: .*started`, 0},
		{"restart web slow", `(?s)restart: "slow" is not understood.*\[clean\|force\]`, 2},
		{"frobnicate\nversion", `^error: there is no command "frobnicate"`, 2},
		{"restart nowhere\nversion\n", `E-NO-APP`, 4},
		{"status | cat", `more than one command`, 2},
		{"status > x", `no redirections`, 2},
		{"message web", `E-USAGE`, 2},
		{"console", `this is a console already`, 2},
		{"exec web -- sh -c 'cat; exit 7'\nversion", `^$`, 7},
		{"quit\nfrobnicate", `^$`, 0},
		{"exit\nfrobnicate", `what runs goes on`, 0},
		{"exit fast", `exit: "fast" is not understood`, 2},
		{"help", `(?s)Look:.*In the console.*exit `, 0},
	} {
		out, code := p.muster(t, c.input, "console")
		if code != c.code || !regexp.MustCompile(c.out).MatchString(out) || strings.ContainsAny(out, "\x1b") {
			t.Errorf("%q: exit code %d, want %d; printed %q, want %s", c.input, code, c.code, out, c.out)
		}
	}
	pid := p.root.Running()[0].PID
	if out, code := p.muster(t, "muster down\n", "console"); code != 0 || !strings.Contains(out, "shop is down") {
		t.Errorf("down: %d %q (keeper "+strconv.Itoa(pid)+")", code, out)
	}
}
