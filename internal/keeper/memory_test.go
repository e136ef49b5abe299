//go:build !race

package keeper

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// The race detector keeps a shadow of all memory, so that it has no say here.

// The keeper stays small with many workers, also when a burst is over.
func TestMemory(t *testing.T) {
	k := newStage(t, quick(), nil)
	a := k.agent()
	a.do("up")
	a.do("start 100 " + t.TempDir() + " small")
	const limit = 6 << 10
	var now int
	poll(t, "the keeper is small", func() bool {
		now = rssAnon(t, k.cmd.Process.Pid)
		return now < limit
	})
	t.Logf("RssAnon with 100 workers: %d kB", now)
}

// rssAnon in kB.
func rssAnon(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no RssAnon")
	return 0
}
