package show

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/muster-run/muster/test/rig"
)

// AllLines has a worker print many lines and end at once: every line must be in
// the log, once, in order.
func AllLines(t *testing.T, n int) string {
	p := rig.New(t, fmt.Sprintf(`version: 1
apps:
  chatty:
    command: [%s, lines, "%d"]
    restart: never
`, rig.Prop(), n))
	start := time.Now()
	p.Run("up", "-d")
	rig.Until(t, 2*time.Minute, "all lines are recorded", func() bool { return len(p.Records("chatty")) >= n })
	took := time.Since(start)
	got := p.Records("chatty")
	if len(got) != n {
		t.Fatalf("%d lines printed, %d recorded", n, len(got))
	}
	for i, r := range got {
		if want := fmt.Sprintf("line %d of %d", i+1, n); r.Line != want || r.Cut || r.App != "chatty" {
			t.Fatalf("record %d is %+v, want %q", i, r, want)
		}
	}
	p.Down()
	return fmt.Sprintf("%d lines printed, %d records, %.1fs", n, len(got), took.Seconds())
}

// SlowFollower follows the log without reading it, while the worker prints: it
// must not slow the worker.
func SlowFollower(t *testing.T) string {
	const n = 50_000
	p := rig.New(t, fmt.Sprintf(`version: 1
apps:
  chatty:
    command: [%s, ticks, "%d"]
    ready: alive
`, rig.Prop(), n))
	p.Up()
	rig.Until(t, time.Minute, "the first worker's lines", func() bool { return len(p.Records("chatty")) >= n })
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	follower := p.Cmd("logs", "-f", "chatty")
	follower.Stdout = write // nobody reads
	if err := follower.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = follower.Process.Kill(); _ = follower.Wait() }()
	write.Close()
	start := time.Now()
	p.Must("restart", "chatty")
	rig.Until(t, time.Minute, "the second worker's lines", func() bool { return len(p.Records("chatty")) >= 2*n })
	took := time.Since(start)
	_ = follower.Process.Kill()
	p.Down()
	return fmt.Sprintf("%d lines beside a follower that does not read: %.1fs", n, took.Seconds())
}
