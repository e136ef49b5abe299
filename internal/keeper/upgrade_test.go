package keeper

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestUpgrade(t *testing.T) {
	k := newStage(t, quick(), nil)
	a := k.agent()
	a.do("up")
	worker := a.do("start 1 " + t.TempDir() + " sleep")
	path := copyProgram(t)
	a.do("upgrade " + path)
	a.tell("exit 0")
	b := k.agent()
	if b.Exe != inode(t, path) || b.Hello.Last != "upgraded" || outcome(t, b) != "" {
		t.Errorf("%+v %+v", b.said, b.Hello)
	}
	b.do("up")
	b.signal(syscall.SIGKILL)
	c := k.agent()
	if c.Exe != b.Exe || c.Hello.Last != "killed by signal SIGKILL" || outcome(t, c) != "" {
		t.Errorf("the one after a crash: %+v %+v", c.said, c.Hello)
	}
	if !alive(t, worker) {
		t.Error("the worker is gone")
	}
}

// outcome is the reason why an upgrade failed, "" if it did not.
func outcome(t *testing.T, a *puppet) string {
	t.Helper()
	var o UpgradeOutcome
	if err := json.Unmarshal(a.Hello.Upgrade, &o); err != nil || string(o.What) != `{"binary":"new"}` {
		t.Fatalf("%s: %v", a.Hello.Upgrade, err)
	}
	return o.Reason
}

// Whatever becomes of a new program that is not up: the old one runs again, and
// no worker has noticed.
func TestUpgradeFails(t *testing.T) {
	t.Parallel() // one takes its time
	for name, tc := range map[string]struct {
		file   string // its text; "": a copy of this program
		do     func(*puppet)
		reason string
	}{
		"no program": {file: "text", reason: "exec format error"},
		"crashes":    {do: func(b *puppet) { b.tell("exit 3") }, reason: "exit code 3"},
		"gives up":   {do: func(b *puppet) { b.do("end 4"); b.tell("exit 4") }, reason: "ended with code 4"},
		"hangs":      {do: func(*puppet) {}, reason: neverUp},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := quick()
			if name == "hangs" {
				w.up = 5 * time.Second
			}
			k := newStage(t, w, nil)
			a := k.agent()
			a.do("up")
			worker := a.do("start 1 " + t.TempDir() + " sleep")
			path := filepath.Join(t.TempDir(), "new")
			if tc.file == "" {
				path = copyProgram(t)
			} else if err := os.WriteFile(path, []byte(tc.file), 0o700); err != nil {
				t.Fatal(err)
			}
			a.do("upgrade " + path)
			a.tell("exit 0")
			if tc.do != nil {
				b := k.agent()
				if b.Exe != inode(t, path) {
					t.Errorf("%+v", b.said)
				}
				tc.do(b)
			}
			c := k.agent()
			if reason := outcome(t, c); c.Exe != a.Exe || c.Hello.Last != neverUp || !strings.Contains(reason, tc.reason) {
				t.Errorf("%+v %+v: %q", c.said, c.Hello, reason)
			}
			if !alive(t, worker) {
				t.Error("the worker is gone")
			}
		})
	}
}
