package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-run/muster/fault"
)

func TestRoots(t *testing.T) {
	uid := os.Getuid()
	state, runtime := "/home/u/.local/state/muster", "/tmp/muster-"
	if uid == 0 {
		state, runtime = "/var/lib/muster", "/run/muster"
	}
	for _, c := range []struct {
		name, state, runtime string
		environ              []string
	}{
		{"default", state, runtime, []string{"HOME=/home/u"}},
		{"xdg", "/x/state/muster", "/x/run/muster", []string{"XDG_STATE_HOME=/x/state", "XDG_RUNTIME_DIR=/x/run"}},
		{"xdg that is relative does not count", state, runtime, []string{"HOME=/home/u", "XDG_STATE_HOME=x", "XDG_RUNTIME_DIR=y"}},
		{"own", "/a", "/b", []string{"XDG_STATE_HOME=/x", "XDG_RUNTIME_DIR=/y", "MUSTER_STATE_DIR=/a", "MUSTER_RUNTIME_DIR=/b/"}},
	} {
		got := FindRoots(c.environ)
		if got.State != c.state || !strings.HasPrefix(got.Runtime, c.runtime) {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

func TestProjectsOfOneNameDoNotCollide(t *testing.T) {
	r := Roots{State: "/s", Runtime: "/r"}
	a, b := r.Project("web", "/a/muster.yaml"), r.Project("web", "/b/muster.yaml")
	if a.Key == b.Key || a.Socket == b.Socket || a.State == b.State {
		t.Errorf("%+v and %+v", a, b)
	}
	if again := r.Project("web", "/a/muster.yaml"); again != a {
		t.Errorf("not the same twice: %+v, %+v", a, again)
	}
	long := r.Project(strings.Repeat("n", 64), "/a")
	if len(long.Socket) > len("/r/")+keyNameMax+1+8+len("/control.sock") {
		t.Errorf("a long name makes a long path: %s", long.Socket)
	}
}

func TestPrepare(t *testing.T) {
	s := newSite(t)
	p := FindRoots(s.environ).Project("p", s.dir)
	if err := p.Prepare(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{p.State, p.Runtime, p.LogDir} {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", dir, info.Mode(), err)
		}
	}
	if err := p.OpenTo(true); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(p.Runtime); info.Mode().Perm() != 0o711 {
		t.Errorf("opened to others: %v", info.Mode())
	}
}

func TestPrepareRefuses(t *testing.T) {
	t.Run("long path", func(t *testing.T) {
		p := Roots{State: t.TempDir(), Runtime: "/tmp/" + strings.Repeat("x", 100)}.Project("p", "/p")
		if err := p.Prepare(); fault.CodeOf(err) != fault.SocketPath {
			t.Errorf("%v", err)
		}
	})
	t.Run("file in the way", func(t *testing.T) {
		s := newSite(t)
		p := FindRoots(s.environ).Project("p", s.dir)
		if err := os.WriteFile(filepath.Dir(p.State), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := p.Prepare(); fault.CodeOf(err) != fault.StateDir {
			t.Errorf("%v", err)
		}
	})
	t.Run("directory that others may write", func(t *testing.T) {
		s := newSite(t)
		p := FindRoots(s.environ).Project("p", s.dir)
		if err := os.MkdirAll(p.Runtime, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p.Runtime, 0o777); err != nil {
			t.Fatal(err)
		}
		err := p.Prepare()
		if fault.CodeOf(err) != fault.StateDir || !strings.Contains(fault.From(err).Fix, p.Runtime) {
			t.Errorf("%v", err)
		}
	})
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	p := Paths{Lock: path}
	if _, held := LockHolder(p); held {
		t.Error("held before anybody took it")
	}
	if err := os.WriteFile(path, []byte("999999\n"), 0o600); err != nil { // left by a crash
		t.Fatal(err)
	}
	l, err := takeLock(path, os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if pid, held := LockHolder(p); !held || pid != os.Getpid() {
		t.Errorf("holder %d, %v", pid, held)
	}
	if _, err := takeLock(path, os.Getpid()); fault.CodeOf(err) != fault.AgentRunning {
		t.Errorf("taken twice: %v", err)
	}
	if err := l.release(); err != nil {
		t.Fatal(err)
	}
	if _, held := LockHolder(p); held {
		t.Error("still held")
	}
}

func TestRunningListsOnlyTheLiving(t *testing.T) {
	s := newSite(t)
	roots := FindRoots(s.environ)
	for _, name := range []string{"dead", "alive"} {
		p := roots.Project(name, s.dir)
		if err := p.Prepare(); err != nil {
			t.Fatal(err)
		}
		if err := (Record{Project: name, Key: p.Key, PID: os.Getpid(), Dir: s.dir}).write(p.Record); err != nil {
			t.Fatal(err)
		}
	}
	l, err := takeLock(roots.Project("alive", s.dir).Lock, os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer l.release()
	if list := roots.Running(); len(list) != 1 || list[0].Project != "alive" {
		t.Errorf("%+v", list)
	}
}
