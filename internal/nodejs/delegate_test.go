package nodejs

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A seen is what testdata/preload/program.cjs prints of its forks.
type seen struct {
	Events                []string
	Early, Answer, Output string
	Socket, Dead, Failed  string
	Options               string
	PID, Gone             bool
	Left                  int
	Message               struct {
		Answer string
		ID     int
	}
}

func TestAProgramThatIsItsOwnPrimary(t *testing.T) {
	eachNode(t, "delegate", func(t *testing.T, node string) {
		got := program(t, node)
		for _, c := range []struct{ what, got, want string }{
			{"a fork right after fork()", got.Early, "number,true,false,true"},
			{"output of a silent fork", got.Output, "1 first blue\n"},
			{"message", got.Message.Answer, "a\n\"ü"},
			{"socket", got.Socket, "from the fork"},
			{"a killed fork", got.Dead, "true,false"},
			{"a fork that cannot start", got.Failed, "ENOENT"},
			{"NODE_OPTIONS", got.Options, ""},
		} {
			if c.got != c.want {
				t.Errorf("%s: %q, not %q", c.what, c.got, c.want)
			}
		}
		if !strings.HasPrefix(got.Answer, "pid ") || !got.PID || !got.Gone || got.Left != 0 || got.Message.ID != 1 {
			t.Errorf("saw %+v", got)
		}
		inOrder(t, got.Events, "fork 1", "online 1", "listening 1", "exit 1 0, true", "fork 2", "listening 2",
			"exit 2 ,SIGKILL false", "fork 3", "exit 3 1, false", "fork 4", "listening 4", "exit 4 0, true")
		for id := range 4 {
			if n := count(got.Events, "disconnect "+string(rune('1'+id))); n != 1 {
				t.Errorf("%d disconnect events of fork %d", n, id+1)
			}
		}
	})
}

func TestDelegateIsTheCallers(t *testing.T) {
	first := Delegate()
	first[0] = 'x'
	if bytes.Equal(first, Delegate()) {
		t.Error("a change of what Delegate returned changes what it returns next")
	}
}

// program runs testdata/preload/program.cjs below a stand-in of muster.
func program(t *testing.T, node string) seen {
	t.Helper()
	path := filepath.Join(t.TempDir(), "delegate.cjs")
	if err := os.WriteFile(path, Delegate(), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, filepath.Join("testdata", "preload", "agent.cjs"))
	cmd.Env = append(os.Environ(), "PRELOAD="+path)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var got seen
	if err == nil {
		err = json.Unmarshal(out, &got)
	}
	if err != nil {
		t.Fatalf("%v: %s%s", err, out, stderr.String())
	}
	return got
}

func inOrder(t *testing.T, events []string, want ...string) {
	t.Helper()
	rest := events
	for _, w := range want {
		i := slices.Index(rest, w)
		if i < 0 {
			t.Fatalf("no %q in its place: %q", w, events)
		}
		rest = rest[i+1:]
	}
}

func count(list []string, what string) int {
	n := 0
	for _, s := range list {
		if s == what {
			n++
		}
	}
	return n
}
