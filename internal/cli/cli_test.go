package cli

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/muster-run/muster/internal/agent"
	"github.com/muster-run/muster/internal/cli/reference"
)

// awaitDeadline bounds every wait of a transcript.
const awaitDeadline = 20 * time.Second

// programs is where TestMain has put muster and the server of the transcripts.
const programs = "MUSTER_TEST_PROGRAMS"

func TestMain(m *testing.M) { os.Exit(withPrograms(m.Run)) }

func withPrograms(run func() int) int {
	dir, err := os.MkdirTemp("", "muster-cli")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	for _, program := range []string{"../../cmd/muster", "./testdata/server"} {
		build := exec.Command("go", "build", "-trimpath", "-o", dir+"/", program) // as test/rig does: compiled once
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "cannot build %s: %v\n%s", program, err, out)
			return 1
		}
	}
	os.Setenv(programs, dir)
	return run()
}

func TestTranscripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata", Setup: prepare, RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"code": codeCommand, "await": awaitCommand, "get": getCommand},
	})
}

// prepare gives a transcript its own directories and free ports, and ends the
// agents that it leaves.
func prepare(env *testscript.Env) error {
	root, err := os.MkdirTemp("", "mc") // the work directory makes too long a socket path
	if err != nil {
		return err
	}
	env.Setenv("PATH", os.Getenv(programs)+":"+env.Getenv("PATH"))
	env.Setenv("MUSTER_STATE_DIR", root+"/s")
	env.Setenv("MUSTER_RUNTIME_DIR", root+"/r")
	env.Setenv("HOME", env.WorkDir)
	env.Setenv("TZ", "UTC")
	for _, name := range []string{"PORT1", "PORT2", "PORT3"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		env.Setenv(name, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
		defer l.Close() // not before each has one of its own
	}
	env.Defer(func() {
		roots := agent.Roots{State: root + "/s", Runtime: root + "/r"}
		for _, r := range roots.Running() {
			syscall.Kill(r.PID, syscall.SIGTERM)
			for end := time.Now().Add(awaitDeadline); time.Now().Before(end); {
				if _, held := agent.LockHolder(roots.Key(r.Key)); !held {
					break
				}
			}
		}
		os.RemoveAll(root)
	})
	return nil
}

// codeCommand runs a program and compares its exit code: code 3 muster status.
func codeCommand(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got, err := 0, ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("%s: exit code %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// awaitCommand repeats a program until its stdout matches: await 'web.*Healthy' muster status.
func awaitCommand(ts *testscript.TestScript, _ bool, args []string) {
	match := regexp.MustCompile("(?s)" + args[0])
	for end := time.Now().Add(awaitDeadline); time.Now().Before(end); {
		_ = ts.Exec(args[1], args[2:]...)
		if match.MatchString(ts.ReadFile("stdout")) {
			return
		}
	}
	ts.Fatalf("%s: never matched %s; the last was\n%s%s", strings.Join(args[1:], " "), args[0], ts.ReadFile("stdout"), ts.ReadFile("stderr"))
}

// getCommand fetches http://127.0.0.1:PORT/ and matches the answer.
func getCommand(ts *testscript.TestScript, neg bool, args []string) {
	hc := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := hc.Get("http://127.0.0.1:" + args[0] + "/")
	if neg {
		if err == nil {
			ts.Fatalf("port %s answers", args[0])
		}
		return
	}
	ts.Check(err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	ts.Check(err)
	if !regexp.MustCompile(args[1]).Match(text) {
		ts.Fatalf("port %s answers %q, want %s", args[0], text, args[1])
	}
}

// TestReferenceIsUpToDate fails when a page was not made anew after a change.
func TestReferenceIsUpToDate(t *testing.T) {
	for name, want := range reference.Pages((&session{out: plain(io.Discard), err: plain(io.Discard)}).root()) {
		got, err := os.ReadFile(filepath.Join("../../docs/reference", name))
		if err != nil {
			t.Error(err)
			continue
		}
		if string(got) != want {
			t.Errorf("docs/reference/%s is not up to date: go run ./cmd/muster docs", name)
		}
	}
}
