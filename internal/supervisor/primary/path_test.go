package primary

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// A UNIX socket whose file was removed while no worker had it is there again for the
// next one that asks: the same one, or, where its file cannot be put back, a new one.
func TestRemovedPath(t *testing.T) {
	for _, balance := range []spec.Balance{spec.BalanceShared, spec.BalanceRoundRobin} {
		l := newLab(t, "node", balance)
		dir := filepath.Join(t.TempDir(), "run")
		file := filepath.Join(dir, "s")
		serve := func() *worker {
			t.Helper()
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			w := l.start(0, `http200([{path: process.argv[2]}, () => say('up')]).on('error', (e) => say(e.code))`, file)
			w.wants(`"up"`)
			if who := get(t, "unix", file); who != "1" {
				t.Errorf("%s answers", who)
			}
			return w
		}
		serve().kill()
		l.until("it is gone", func() bool { return l.members() == 0 })
		first := l.facts()[0].Listener.Inode
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		w := serve()
		if again := l.facts()[0].Listener.Inode; again != first || len(l.warnings(fault.SocketGone)) != 0 {
			t.Errorf("%s: another socket, %q", balance, l.warnings(fault.SocketGone))
		}
		w.kill()
		l.until("it is gone", func() bool { return l.members() == 0 })
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		serve().kill()
		if told := l.warnings(fault.SocketGone); len(told) != 1 || len(l.facts()) != 1 {
			t.Errorf("%s: told %q, %d listeners", balance, told, len(l.facts()))
		}
	}
}

// A path that is too long for the system is served all the same, as by Node's own
// primary: clients reach it from its directory.
func TestDeepPath(t *testing.T) {
	eachNode(t, func(t *testing.T, node string) {
		for _, balance := range []spec.Balance{spec.BalanceShared, spec.BalanceRoundRobin} {
			l := newLab(t, node, balance)
			dir := filepath.Join(t.TempDir(), strings.Repeat("d", 120))
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			t.Chdir(dir)
			w := l.start(0, `http200([{path: 's'}, () => say('up')]).on('error', (e) => say(e.code))`)
			w.wants(`"up"`)
			if who := get(t, "unix", "s"); who != "1" {
				t.Errorf("%s answers", who)
			}
			w.kill()
			l.do(l.p.Release)
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("%v is left, %v", left, err)
			}
		}
	})
}
