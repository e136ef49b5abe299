package show

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/muster-run/muster/test/rig"
)

// chatter is an app beside the one under test whose workers print numbered
// lines all the time.
type chatter struct{ dir string }

// withChat adds the app "chat" to a muster.yaml.
func withChat(t testing.TB, yaml string) (string, chatter) {
	c := chatter{t.TempDir()}
	return yaml + fmt.Sprintf("  chat:\n    command: [%q, chat, %q]\n    workers: 2\n    ready: alive:100ms\n", rig.Prop(), c.dir), c
}

// complete checks, after the end, that of each process that ever printed every
// line is recorded, once and in order, on both streams. It returns how many
// lines and processes there were.
func (c chatter) complete(t *testing.T, p *rig.Project) (lines, processes int) {
	t.Helper()
	last := map[string]int{} // "out PID" → the last number recorded
	for _, r := range p.Records("chat") {
		who, number, ok := strings.Cut(strings.Replace(r.Line, " ", "/", 1), " ")
		n, err := strconv.Atoi(number)
		if !ok || err != nil {
			t.Errorf("no numbered line: %q", r.Line)
			continue
		}
		if n != last[who]+1 {
			t.Errorf("%s: line %d follows %d", who, n, last[who])
		}
		last[who] = n
		lines++
	}
	notes, _ := filepath.Glob(filepath.Join(c.dir, "*"))
	for _, note := range notes {
		text, _ := os.ReadFile(note)
		n, err := strconv.Atoi(string(text))
		if err != nil {
			continue // killed before its first line
		}
		processes++
		for _, stream := range []string{"out", "err"} {
			if got := last[stream+"/"+filepath.Base(note)]; got < n {
				t.Errorf("%s of %s: %d lines printed, recorded up to %d", stream, filepath.Base(note), n, got)
			}
		}
	}
	return lines, processes
}

// talks waits until both workers of chat print.
func (c chatter) talks(t *testing.T) {
	t.Helper()
	rig.Until(t, 20*time.Second, "lines are printed", func() bool {
		notes, _ := filepath.Glob(filepath.Join(c.dir, "*"))
		return len(notes) >= 2
	})
}
