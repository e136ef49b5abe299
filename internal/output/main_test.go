package output

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/output/zst"
	"github.com/muster-run/muster/spec"
)

func TestMain(m *testing.M) {
	if os.Getenv(agentEnv) != "" {
		if err := agent(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// waitFor polls until ok.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	end := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// script is a Source that the test feeds.
type script struct {
	chunks chan chunk // closed: EOF
	onSync func()

	mu        sync.Mutex
	was       int // given before the last chunk
	given     int
	committed int
	closed    bool
}

type chunk struct {
	stream int
	text   string
}

func newScript() *script { return &script{chunks: make(chan chunk, 1024)} }

func (s *script) out(text string) { s.chunks <- chunk{1, text} }
func (s *script) err(text string) { s.chunks <- chunk{2, text} }
func (s *script) end()            { close(s.chunks) }

func (s *script) Next(ctx context.Context) (int, []byte, time.Time, error) {
	select {
	case c, ok := <-s.chunks:
		if !ok {
			return 0, nil, time.Time{}, io.EOF
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.was = s.given
		s.given += len(c.text)
		return c.stream, []byte(c.text), time.Now(), nil
	case <-ctx.Done():
		return 0, nil, time.Time{}, ctx.Err()
	}
}

// Where counts what was given.
func (s *script) Where() (pos, next int64, skipped int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int64(s.was), int64(s.given), 0
}

func (s *script) Commit(pos int64, skip [2]int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.onSync != nil {
		s.onSync()
	}
	s.committed = int(pos + skip[0] + skip[1])
	return nil
}

func (s *script) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

func (s *script) state() (given, committed int, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.given, s.committed, s.closed
}

// faults collects warnings.
type faults struct {
	mu   sync.Mutex
	list []*fault.Fault
}

func (f *faults) add(one *fault.Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, one)
}

func (f *faults) len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.list)
}

func (f *faults) all() []*fault.Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*fault.Fault(nil), f.list...)
}

// options for a log file in a directory of the test.
func options(t *testing.T) Options {
	return Options{App: "web", Log: spec.DefaultLog(), File: filepath.Join(t.TempDir(), "logs", "web.log"), Packing: zst.Packing{}}
}

func logFile(path string) File { return File{Path: path, App: "web", Packing: zst.Packing{}} }

func open(t *testing.T, o Options) *Log {
	t.Helper()
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// printed attaches a worker that prints text to stdout and ends.
func printed(t *testing.T, l *Log, w Worker, text string) {
	t.Helper()
	s := newScript()
	s.out(text)
	s.end()
	done(t, l.Attach(t.Context(), w, s, nil))
}

func done(t *testing.T, a *Attachment) {
	t.Helper()
	select {
	case <-a.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("attachment does not end")
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// numbered is "PREFIX from\n" to "PREFIX to-1\n".
func numbered(prefix string, from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "%s %d\n", prefix, i)
	}
	return b.String()
}

func lines(list []api.Record) []string {
	out := []string{}
	for _, r := range list {
		out = append(out, r.Line)
	}
	return out
}

func tail(t *testing.T, l *Log, f Filter, n int) []api.Record {
	t.Helper()
	var list []api.Record
	if err := l.Read(f, n, collect(&list)); err != nil {
		t.Fatal(err)
	}
	return list
}

func collect(list *[]api.Record) func(api.Record) error {
	return func(r api.Record) error { *list = append(*list, r); return nil }
}
