package keeper

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/keeper/wire"
	"github.com/muster-run/muster/internal/process"
)

// recordEnv names the file that TestRecording writes; only a new version of the
// protocol needs a new one, beside the old.
const recordEnv = "MUSTER_TEST_RECORD"

// recordings are what keepers and agents of earlier protocols have said to each
// other, in one run of script.
func recordings() []string { return []string{"testdata/keeper-v1.jsonl"} }

// recorded frame: one line of a recording. DIR stands for a directory.
type recordedFrame struct {
	From  string          `json:"from"` // agent or keeper
	FDs   int             `json:"fds,omitempty"`
	Frame json.RawMessage `json:"frame"`
}

// frameHead is what tells frames apart.
type frameHead struct {
	Op string `json:"op"`
	ID uint64 `json:"id"`
}

// script uses every call of a Client once, and checks what comes of it.
func script(t *testing.T, c *Client, dir string) {
	t.Helper()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	scriptStore(t, c, null)
	scriptProcess(t, c, dir, null)
	if _, err := c.Start(process.Command{ID: "b", Argv: []string{"/no/such/program"}, Dir: "/"}); fault.CodeOf(err) != fault.CommandNotFound || !errors.Is(err, syscall.ENOENT) {
		t.Errorf("start: %v", err)
	}
	err = errors.Join(c.Up(), c.Notify("READY=1"), c.Upgrade(null, json.RawMessage(`{"to":"v2"}`)))
	if err != nil {
		t.Error(err)
	}
	if sig := <-c.Signals(); sig != syscall.SIGHUP {
		t.Errorf("signal %v", sig)
	}
	if err := c.End(0); err != nil {
		t.Error(err)
	}
}

func scriptStore(t *testing.T, c *Client, null *os.File) {
	t.Helper()
	store := c.Store()
	if err := store.Put("listen/web/tcp://127.0.0.1:1", null); err != nil {
		t.Fatal(err)
	}
	if f, err := store.Get("none"); f != nil || err != nil {
		t.Errorf("get none: %v, %v", f, err)
	}
	if names := store.List(); !slices.Equal(names, []string{"listen/web/tcp://127.0.0.1:1"}) {
		t.Errorf("names %q", names)
	}
	for _, fetch := range []func(string) (*os.File, error){store.Get, store.Take} {
		f, err := fetch("listen/web/tcp://127.0.0.1:1")
		if f == nil || err != nil {
			t.Fatalf("%v, %v", f, err)
		}
		f.Close()
	}
}

func scriptProcess(t *testing.T, c *Client, dir string, null *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	cmd := process.Command{
		ID: "a", Argv: []string{"/bin/sh", "-c", "read x; echo hello; sleep 0.2; exit 3", "\xff"}, Env: []string{"PATH=/usr/bin:/bin"}, Dir: "/",
		Stdin: r, Files: []process.NamedFD{{Name: "null", File: null}}, Spool: dir + "/spool", Meta: []byte("one"),
	}
	p, err := c.Start(cmd)
	if err != nil || p.PID == 0 || p.StartTime == 0 || p.Leader != p.PID || string(p.Meta) != "one" {
		t.Fatalf("%+v, %v", p, err)
	}
	r.Close()
	out, err := c.Output("a")
	if err != nil {
		t.Fatal(err)
	}
	// So what it prints comes over the socket; in a replay there are no files.
	_ = os.Rename(cmd.Spool, cmd.Spool+".away")
	fmt.Fprintln(w, "go")
	stream, data, at, err := out.Next(t.Context())
	if stream != 1 || string(data) != "hello\n" || at.IsZero() || err != nil {
		t.Errorf("%d %q %v %v", stream, data, at, err)
	}
	_, next, _ := out.Where()
	err = errors.Join(out.Commit(next, [2]int64{}), c.SetMeta("a", []byte("two")), c.SetKillAt("a", time.Now().Add(time.Hour)), c.SetKillAt("a", time.Time{}))
	if err != nil {
		t.Error(err)
	}
	if _, err := c.SetMain("a", 1); !errors.Is(err, process.ErrNotMember) {
		t.Errorf("set_main: %v", err)
	}
	if e := nextExit(t, c); e.ID != "a" || e.PID != p.PID || e.Code != 3 || e.Signal != 0 || e.Time.IsZero() {
		t.Errorf("%+v", e)
	}
	if _, _, _, err := out.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
	if list := c.List(); len(list) != 1 || list[0].PID != p.PID || string(list[0].Meta) != "two" || list[0].Exit == nil || list[0].Exit.Code != 3 {
		t.Errorf("%+v", list)
	}
	if err := out.Close(); err != nil {
		t.Error(err)
	}
	c.Ack("a")
	if list := c.List(); len(list) != 0 {
		t.Errorf("%+v", list)
	}
}

// tap passes frames on between an agent and a keeper, and keeps them.
type tap struct {
	dir  string
	mu   sync.Mutex
	list []recordedFrame
}

func (p *tap) pass(from string, in, out *channel.Conn) {
	for {
		f, err := in.Receive(context.Background())
		if err != nil {
			out.Close()
			return
		}
		text := bytes.ReplaceAll(f.Data, []byte(p.dir), []byte("DIR"))
		p.mu.Lock()
		p.list = append(p.list, recordedFrame{from, len(f.FDs), text})
		err = out.Send(f.Data, f.FDs...)
		p.mu.Unlock()
		closeAll(f.FDs)
		if err != nil {
			in.Close()
			return
		}
	}
}

// The script works with this keeper; the recording is made of what is said.
func TestRecording(t *testing.T) {
	l, dir := newLab(t, process.Options{NoCgroup: true}), t.TempDir()
	x, fd := l.attach(Hello{Version: "v1", Agents: 2, Last: "killed by signal SIGKILL", Upgrade: json.RawMessage(`{"to":"v0"}`), Signals: []int{1}})
	ours, theirs, err := channel.Pair()
	if err != nil {
		t.Fatal(err)
	}
	agent, keeper, p := channel.Open(ours, channel.Options{}), channel.Open(fd, channel.Options{}), &tap{dir: dir}
	var passing sync.WaitGroup
	passing.Go(func() { p.pass("agent", agent, keeper) })
	passing.Go(func() { p.pass("keeper", keeper, agent) })
	passing.Go(func() {
		until(t, "up", func() bool { return slices.Contains(l.orders.words(), "upgrade") })
		x.forward(syscall.SIGHUP)
	})
	c, h, err := Dial(theirs)
	if err != nil || h.Agents != 2 {
		t.Fatal(h, err)
	}
	script(t, c, dir)
	c.Close()
	passing.Wait()
	x.close()
	agent.Close()
	keeper.Close()
	l.orders.exe.Close()
	if path := os.Getenv(recordEnv); path != "" {
		writeRecording(t, path, p.list)
	}
}

func writeRecording(t *testing.T, path string, list []recordedFrame) {
	t.Helper()
	var text bytes.Buffer
	for _, f := range list {
		text.Write(append(mustJSON(t, f), '\n'))
	}
	if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readRecording(t *testing.T, path, dir string) []recordedFrame {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var list []recordedFrame
	for s := bufio.NewScanner(strings.NewReader(strings.ReplaceAll(string(text), "DIR", dir))); s.Scan(); {
		var f recordedFrame
		if err := json.Unmarshal(s.Bytes(), &f); err != nil {
			t.Fatal(err)
		}
		list = append(list, f)
	}
	return list
}

func headOf(t *testing.T, frame []byte) frameHead {
	t.Helper()
	var h frameHead
	if err := json.Unmarshal(frame, &h); err != nil {
		t.Fatal(err)
	}
	return h
}

// oldKeeper answers an agent as a keeper did in a recording: each request with the
// answers to the next one of the same op, and what was said unasked after that.
type oldKeeper struct {
	t       *testing.T
	conn    *channel.Conn
	answers map[string][][]recordedFrame // by op, in order
	asked   map[string]int
}

func newOldKeeper(t *testing.T, list []recordedFrame, fd int) *oldKeeper {
	k := &oldKeeper{t, channel.Open(fd, channel.Options{}), map[string][][]recordedFrame{}, map[string]int{}}
	ops := map[uint64]string{} // of requests with an id
	last := ""
	for _, f := range list {
		h := headOf(t, f.Frame)
		op := last
		switch {
		case f.From == "agent":
			last, ops[h.ID] = h.Op, h.Op
			k.answers[h.Op] = append(k.answers[h.Op], nil)
			continue
		case h.Op == wire.OpReply:
			op = ops[h.ID]
		}
		// A reply belongs to the last request of its op: the agent asked one thing
		// after the other.
		n := len(k.answers[op]) - 1
		k.answers[op][n] = append(k.answers[op][n], f)
	}
	return k
}

func (k *oldKeeper) serve() {
	for {
		f, err := k.conn.Receive(context.Background())
		if err != nil {
			return
		}
		closeAll(f.FDs)
		h := headOf(k.t, f.Data)
		n := k.asked[h.Op]
		k.asked[h.Op]++
		if n >= len(k.answers[h.Op]) {
			k.t.Errorf("the agent asks for %s once more than that of the time: %s", h.Op, f.Data)
			return
		}
		for _, a := range k.answers[h.Op][n] {
			k.send(a, h.ID)
		}
	}
}

func (k *oldKeeper) send(f recordedFrame, id uint64) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(f.Frame, &fields); err != nil {
		k.t.Error(err)
		return
	}
	if headOf(k.t, f.Frame).Op == wire.OpReply {
		fields["id"] = mustJSON(k.t, id)
	}
	if err := k.conn.Send(mustJSON(k.t, fields), make([]int, f.FDs)...); err != nil {
		k.t.Error(err)
	}
}

// This agent works with the keepers of earlier protocols.
func TestOldKeeper(t *testing.T) {
	for _, path := range recordings() {
		ours, theirs, err := channel.Pair()
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		k := newOldKeeper(t, readRecording(t, path, dir), ours)
		var serving sync.WaitGroup
		serving.Go(k.serve)
		c, h, err := Dial(theirs)
		if err != nil {
			t.Fatal(err)
		}
		if h.Version != "v1" || h.Agents != 2 || h.Protocol != 1 || h.Last == "" || len(h.Upgrade) == 0 || !slices.Equal(h.Signals, []int{1}) {
			t.Errorf("%+v", h)
		}
		script(t, c, dir)
		c.Close()
		serving.Wait()
		k.conn.Close()
	}
}

// This keeper works with the agents of earlier protocols: it answers what they
// asked with at least the fields that they got.
func TestOldAgent(t *testing.T) {
	for _, path := range recordings() {
		l := newLab(t, process.Options{NoCgroup: true})
		r, x := l.raw()
		var heard [][]byte
		for _, f := range readRecording(t, path, t.TempDir()) {
			h := headOf(t, f.Frame)
			switch {
			case f.From == "agent":
				r.say(string(f.Frame), make([]int, f.FDs)...)
				if h.Op == wire.OpUpgrade {
					until(t, "upgrade", func() bool { return slices.Contains(l.orders.words(), "upgrade") })
					x.forward(syscall.SIGHUP)
				}
				continue
			case h.Op == wire.OpTrouble: // of a disk that was taken away from the other
				continue
			}
			same := func(frame []byte) bool { return headOf(t, frame) == h }
			for !slices.ContainsFunc(heard, same) {
				heard = append(heard, []byte(r.hear()))
			}
			n := slices.IndexFunc(heard, same)
			if lost := missingFields(t, f.Frame, heard[n]); len(lost) > 0 {
				t.Errorf("%s lacks %q of %s", heard[n], lost, f.Frame)
			}
			heard = slices.Delete(heard, n, n+1)
		}
		if words := l.orders.words(); !slices.Equal(words, []string{"up", "upgrade", "end"}) {
			t.Errorf("%q", words)
		}
		l.orders.exe.Close()
		r.conn.Close()
		x.close()
	}
}

// missingFields are those of an old frame that a new one has not, but for what
// depends on the disk and the clock.
func missingFields(t *testing.T, old, now []byte) []string {
	t.Helper()
	had, has := map[string]bool{}, map[string]bool{}
	for text, fields := range map[*[]byte]map[string]bool{&old: had, &now: has} {
		var v any
		if err := json.Unmarshal(*text, &v); err != nil {
			t.Fatal(err)
		}
		addFields(fields, "", v)
	}
	for field := range has {
		delete(had, field)
	}
	maps.DeleteFunc(had, func(field string, _ bool) bool {
		return strings.Contains(field, ".held") || strings.HasSuffix(field, ".cpu") || strings.HasPrefix(field, ".hello.")
	})
	return slices.Sorted(maps.Keys(had))
}

func addFields(fields map[string]bool, at string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, v := range v {
			fields[at+"."+name] = true
			addFields(fields, at+"."+name, v)
		}
	case []any:
		for _, v := range v {
			addFields(fields, at, v)
		}
	}
}
