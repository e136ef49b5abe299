package intent

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-run/muster/fault"
)

// disk is a log file and the memory of its intent, over the lives of Ledgers.
type disk struct {
	t      *testing.T
	path   string
	memory *os.File
	warned []*fault.Fault
}

func newDisk(t *testing.T) *disk {
	t.Helper()
	f, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &disk{t: t, path: filepath.Join(t.TempDir(), "web.log"), memory: f}
}

// open begins a life; without Close it ends as by a kill.
func (d *disk) open() *Ledger {
	d.t.Helper()
	fd, err := syscall.Dup(int(d.memory.Fd()))
	if err != nil {
		d.t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "copy")
	d.t.Cleanup(func() { f.Close() })
	return Open(f, func(f *fault.Fault) { d.warned = append(d.warned, f) })
}

// append puts text at the end of the log file and returns what a Write to it was.
func (d *disk) append(text string) Write {
	d.t.Helper()
	w := d.write(text)
	f, err := os.OpenFile(d.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		d.t.Fatal(err)
	}
	return w
}

// write is what it would be to append text.
func (d *disk) write(text string) Write {
	d.t.Helper()
	f, err := os.OpenFile(d.path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	st, err := statOf(f)
	if err != nil {
		d.t.Fatal(err)
	}
	return Write{Path: d.path, File: IDOf(st), Before: st.Size, After: st.Size + int64(len(text))}
}

func (d *disk) text() string {
	b, err := os.ReadFile(d.path)
	if err != nil {
		d.t.Fatal(err)
	}
	return string(b)
}

// source is a Progress that has been read: chunks of 10 bytes, stdout and stderr
// in turn, 30 apart.
func source(id string, chunks int) *Progress {
	p := NewProgress(id)
	for i := range chunks {
		p.Add(Chunk{Stream: i % 2, Pos: int64(30 * i), Next: int64(30*i + 30), Size: 10})
	}
	return p
}

// takes says what a Ledger has of sources: "a 30 [5 0]".
func takes(g *Ledger, ids ...string) []string {
	list := []string{}
	for _, id := range ids {
		if p, ok := g.Take(id); ok {
			list = append(list, fmt.Sprintf("%s %d %d", id, p.Pos, p.Skip))
		}
	}
	return list
}

func expect(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: %s", what, diff)
	}
}

// TestEachPointOfDeath: an agent is killed at each point around its second write.
func TestEachPointOfDeath(t *testing.T) {
	const first, second = "first\n", "second one\n"
	before, after := []string{"a 30 [0 5]", "b 0 [7 0]"}, []string{"a 60 [4 0]", "b 30 [0 3]"}
	for _, c := range []struct {
		name string
		die  func(d *disk, g *Ledger, plan func())
		text string
		want []string
	}{
		{"before the note", func(*disk, *Ledger, func()) {}, first, before},
		{"between note and write", func(d *disk, g *Ledger, plan func()) { plan(); g.Begin(d.write(second)) }, first, before},
		{"after one byte", func(d *disk, g *Ledger, plan func()) {
			plan()
			g.Begin(d.write(second))
			d.append(second[:1])
		}, first, before},
		{"before the last byte", func(d *disk, g *Ledger, plan func()) {
			plan()
			g.Begin(d.write(second))
			d.append(second[:len(second)-1])
		}, first, before},
		{"after the write", func(d *disk, g *Ledger, plan func()) {
			plan()
			g.Begin(d.write(second))
			d.append(second)
		}, first + second, after},
		{"after the write, and the file has grown", func(d *disk, g *Ledger, plan func()) {
			plan()
			g.Begin(d.write(second))
			d.append(second + "of somebody else\n")
		}, first + second + "of somebody else\n", after},
		{"after the write, then it was truncated", func(d *disk, g *Ledger, plan func()) {
			plan()
			g.Begin(d.write(second))
			if err := os.Truncate(d.path, 2); err != nil {
				d.t.Fatal(err)
			}
		}, first[:2], after},
		{"after a write that the disk has cut", func(d *disk, g *Ledger, plan func()) {
			plan()
			w := d.write(second)
			g.Begin(w)
			d.append(second[:4])
			g.Fail(w)
		}, first, before},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDisk(t)
			g, a, b := d.open(), source("a", 4), source("b", 4)
			marks := []Mark{{a, 0, 10}, {a, 1, 5}, {b, 0, 7}}
			for _, m := range marks {
				g.Plan(m)
			}
			w := d.write(first)
			g.Begin(w)
			d.append(first)
			for _, m := range marks {
				g.Done(m)
			}
			c.die(d, g, func() {
				for _, m := range []Mark{{a, 1, 10}, {a, 0, 14}, {b, 0, 10}, {b, 1, 3}} {
					g.Plan(m)
				}
			})
			for life := range 3 { // an agent that dies at once again changes nothing
				g = d.open()
				expect(t, fmt.Sprint("sources in life ", life), takes(g, "a", "b", "c", ""), c.want)
				expect(t, "file", d.text(), c.text)
			}
			if len(d.warned) > 0 {
				t.Error(d.warned)
			}
		})
	}
}

func TestCommittedSourcesAreNotNoted(t *testing.T) {
	d := newDisk(t)
	g, a, b := d.open(), source("a", 2), source("b", 2)
	for _, m := range []Mark{{a, 0, 10}, {b, 0, 10}, {NewProgress(""), 0, 1}, {}} {
		g.Plan(m)
	}
	g.Begin(d.write("x\n"))
	d.append("x\n")
	for _, m := range []Mark{{a, 0, 10}, {b, 0, 10}, {}} {
		g.Done(m)
	}
	r := Ruler{To: [2]int64{10, 0}}
	p, stream := a.Place(&r)
	if p != (Place{Pos: 30}) || stream != 1 || a.Held(p) != 30 {
		t.Errorf("%+v, stream %d, %d held", p, stream, a.Held(p))
	}
	a.Commit(&r)
	g.Plan(Mark{b, 1, 2})
	g.Begin(d.write("y\n"))
	d.append("y\n")
	expect(t, "sources", takes(d.open(), "a", "b"), []string{"b 30 [0 2]"})
}

func TestCloseLeavesWhatIsNotCommitted(t *testing.T) {
	d := newDisk(t)
	g, a := d.open(), source("a", 2)
	g.Plan(Mark{a, 0, 4})
	g.Begin(d.write("x\n"))
	d.append("x\n")
	g.Done(Mark{a, 0, 4})
	g.Plan(Mark{a, 0, 10})
	g.Close() // the second was never written
	g.Close()
	if err := os.Truncate(d.path, 1); err != nil { // nobody looks at the file
		t.Fatal(err)
	}
	g = d.open()
	expect(t, "sources", takes(g, "a"), []string{"a 0 [4 0]"})
	expect(t, "file", d.text(), "x")
	g.Forget("a")
	g.Close()
	expect(t, "sources", takes(d.open(), "a"), []string{})
}

// TestOrphans: a place waits for its source however many agents die before they come
// to it, but not for ever.
func TestOrphans(t *testing.T) {
	d := newDisk(t)
	g, a := d.open(), source("a", 2)
	g.Plan(Mark{a, 0, 4})
	g.Begin(d.write("x\n"))
	d.append("x\n")
	b := source("b", 2) // its writes must keep it, too
	write := func() {
		g.Plan(Mark{b, 0, 10})
		g.Begin(d.write("y\n"))
		d.append("y\n")
		g.Done(Mark{b, 0, 10})
	}
	for life := range 200 {
		g = d.open()
		if len(takes(g, "a")) != 1 {
			t.Fatal("forgotten in life ", life)
		}
		write()
	}
	g.opened = g.opened.Add(-2 * orphanAge)
	write()
	expect(t, "sources", takes(g, "a"), []string{})
	expect(t, "sources", takes(d.open(), "a"), []string{})
}

// TestMovedAndGone: the file is found by its inode within its directory.
func TestMovedAndGone(t *testing.T) {
	begin := func(t *testing.T, text string) *disk {
		d := newDisk(t)
		g, a := d.open(), source("a", 2)
		g.Plan(Mark{a, 0, 4})
		g.Begin(d.write("whole\n"))
		d.append(text)
		return d
	}
	d := begin(t, "who")
	if err := os.Rename(d.path, d.path+"-rotated"); err != nil {
		t.Fatal(err)
	}
	expect(t, "moved in the middle", takes(d.open(), "a"), []string{"a 0 [0 0]"})
	d.path += "-rotated"
	expect(t, "moved in the middle", d.text(), "")

	d = begin(t, "who")
	if err := os.Remove(d.path); err != nil {
		t.Fatal(err)
	}
	expect(t, "gone", takes(d.open(), "a"), []string{"a 0 [4 0]"})

	d = begin(t, "who")
	if err := os.Rename(d.path, d.path+"-rotated"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.path, []byte("abc"), 0o600); err != nil { // not ours to cut
		t.Fatal(err)
	}
	takes(d.open(), "a")
	expect(t, "another file", d.text(), "abc")
}

// TestWhatWasLeftOutCounts: a source that was read before begins in the middle.
func TestWhatWasLeftOutCounts(t *testing.T) {
	d := newDisk(t)
	g, p := d.open(), NewProgress("a")
	p.Add(Chunk{Stream: 1, Pos: 0, Next: 30, Size: 10})
	p.Add(Chunk{Stream: 0, Pos: 30, Next: 60, Size: 15, Skipped: 10})
	p.Add(Chunk{Stream: 0, Pos: 60, Next: 90, Size: 10})
	g.Plan(Mark{p, 1, 10})
	g.Begin(d.write("x\n"))
	d.append("x\n")
	expect(t, "sources", takes(d.open(), "a"), []string{"a 30 [10 0]"})
}

// TestManySources: a note has no size it must fit.
func TestManySources(t *testing.T) {
	d := newDisk(t)
	g := d.open()
	for round := range 6 { // some notes are small, some are large
		n := []int{10, 3000, 50, 9000, 1, 400}[round]
		var ids []string
		for i := range n {
			id := fmt.Sprintf("%s-%d-%d", strings.Repeat("long", 5), round, i)
			p := source(id, 2)
			g.Plan(Mark{p, 0, 10})
			defer p.Commit(&Ruler{To: [2]int64{10, 0}})
			ids = append(ids, id)
		}
		g.Begin(d.write("x\n"))
		d.append("x\n")
		next := d.open()
		if got := len(takes(next, ids...)); got != n {
			t.Fatalf("round %d: %d sources of %d", round, got, n)
		}
		g = next
		for _, id := range ids {
			g.Forget(id)
		}
	}
}

// TestTornNote: a note that is torn anywhere leaves the one before it.
func TestTornNote(t *testing.T) {
	f, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in, _ := openFile(f)
	one := note{list: []noted{{id: "a", after: Place{Pos: 1}}}}
	two := note{Write: Write{Path: "/x", After: 9}, list: []noted{{id: "a", after: Place{2, [2]int64{3, 4}}}, {id: "b"}}}
	three := note{list: []noted{{id: "c", after: Place{Pos: 5}}}}
	for _, n := range []*note{&one, &two} {
		if err := in.write(n); err != nil {
			t.Fatal(err)
		}
	}
	old := *in
	oldText := make([]byte, 200)
	offset, _ := region(1 - in.slot)
	n, _ := f.ReadAt(oldText, offset)
	if err := in.write(&three); err != nil {
		t.Fatal(err)
	}
	newText := bytes.Clone(in.buf)
	for cut := range len(newText) {
		text := bytes.Clone(oldText[:max(n, len(newText))])
		copy(text, newText[:cut])
		if bytes.HasPrefix(text, newText) {
			continue // what is missing stood there before
		}
		if _, err := f.WriteAt(text, offset); err != nil {
			t.Fatal(err)
		}
		now, got := openFile(f)
		if now.slot != old.slot || now.last != old.last || !cmp.Equal(got, two, cmp.AllowUnexported(note{}, noted{})) {
			t.Fatalf("cut at %d: %+v in %d", cut, got, now.slot)
		}
	}
}

// TestMemoryRefuses: what cannot be noted is told, and the log is written.
func TestMemoryRefuses(t *testing.T) {
	d := newDisk(t)
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	g := Open(full, func(f *fault.Fault) { d.warned = append(d.warned, f) })
	g.Begin(d.write("x\n"))
	if len(d.warned) != 2 || !errors.Is(d.warned[0], syscall.ENOSPC) || fault.CodeOf(d.warned[0]) != fault.LogWrite {
		t.Error(d.warned)
	}
	g.Close()
}

func TestWithoutFile(t *testing.T) {
	g := Open(nil, nil)
	p := source("a", 1)
	g.Plan(Mark{p, 0, 1})
	g.Begin(Write{})
	g.Done(Mark{p, 0, 1})
	g.Fail(Write{})
	if _, ok := g.Take("a"); ok {
		t.Error("taken from nowhere")
	}
	g.Forget("a")
	g.Close()
}

// FuzzNote: whatever stands in the memory, it is a note or it is not; and no file
// is touched that the note does not name by its inode.
func FuzzNote(f *testing.F) {
	n := note{Write: Write{"/tmp/x", FileID{1, 2}, 3, 4}, list: []noted{{"a", Place{5, [2]int64{6, 7}}, Place{8, [2]int64{9, 10}}}}}
	f.Add(n.append(nil))
	f.Add([]byte{0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := decodeNote(b)
		if err != nil {
			return
		}
		back, err := decodeNote(n.append(nil))
		if err != nil || !cmp.Equal(n, back, cmp.AllowUnexported(note{}, noted{})) {
			t.Fatalf("%+v became %+v, %v", n, back, err)
		}
	})
}

// FuzzFile: any two regions.
func FuzzFile(f *testing.F) {
	mem, err := New()
	if err != nil {
		f.Fatal(err)
	}
	in, _ := openFile(mem)
	if err := in.write(&note{list: []noted{{id: "a"}}}); err != nil {
		f.Fatal(err)
	}
	f.Add(bytes.Clone(in.buf), []byte(intentMark))
	f.Add(bytes.Repeat([]byte{0xff}, 100), []byte{})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		mem, err := New()
		if err != nil {
			t.Fatal(err)
		}
		defer mem.Close()
		for slot, text := range [][]byte{a, b} {
			offset, _ := region(slot)
			if _, err := mem.WriteAt(text, offset); err != nil {
				t.Fatal(err)
			}
		}
		in, _ := openFile(mem)
		want := note{Write: Write{Path: "/new"}}
		if err := in.write(&want); err != nil {
			t.Fatal(err)
		}
		if _, got := openFile(mem); in.last != 0 && !cmp.Equal(got, want, cmp.AllowUnexported(note{}, noted{})) {
			t.Fatalf("%+v after %+v", got, in)
		}
	})
}
