package nodejs

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// wire records what a Link sends.
type wire struct {
	frames []string
	fds    [][]int
	next   int64
	err    error
}

func (w *wire) send(data []byte, fds ...int) error {
	if w.err != nil {
		return w.err
	}
	w.frames = append(w.frames, string(data))
	w.fds = append(w.fds, slices.Clone(fds))
	return nil
}

func (w *wire) nextID() int64 { w.next++; return w.next }

// last is the latest frame, decoded.
func (w *wire) last(t *testing.T) map[string]any {
	t.Helper()
	var m map[string]any
	if len(w.frames) == 0 {
		t.Fatal("nothing was sent")
	}
	if err := json.Unmarshal([]byte(w.frames[len(w.frames)-1]), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func newWire() (*wire, *Link) {
	w := &wire{next: 100}
	return w, NewLink(w.send, w.nextID)
}

// answers records what became of connections.
type answers []string

func (a *answers) add(id int64, taken bool) { *a = append(*a, fmt.Sprint(id, taken)) }

func (a *answers) want(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(*a, want) {
		t.Fatalf("answers %q, want %q", *a, want)
	}
}

func first(t *testing.T, l *Link, text string) {
	t.Helper()
	if !l.First([]byte(text)) {
		t.Fatalf("%s was not dealt with", text)
	}
}

func reply(id int, accepted bool) string {
	return fmt.Sprintf(`{"cmd":"NODE_CLUSTER","ack":%d,"accepted":%v,"seq":3}`, id, accepted)
}

func TestNewConn(t *testing.T) {
	w, l := newWire()
	var got answers
	for id := range int64(3) {
		if err := l.NewConn(`a"b`, id+1, int(id)+50, got.add); err != nil {
			t.Fatal(err)
		}
	}
	if want := `{"cmd":"NODE_HANDLE","type":"net.Native","msg":{"cmd":"NODE_CLUSTER","act":"newconn","key":"a\"b","seq":2}}`; w.frames[1] != want {
		t.Errorf("%s", w.frames[1])
	}
	if !slices.Equal(w.fds[2], []int{52}) {
		t.Errorf("%v", w.fds)
	}
	first(t, l, frameAck)
	first(t, l, reply(1, true))
	got.want(t, "1 true")
	first(t, l, frameNack) // the second did not arrive, so no answer will come
	got.want(t, "1 true", "2 false")
	first(t, l, frameAck)
	first(t, l, reply(3, false))
	got.want(t, "1 true", "2 false", "3 false")
	for range 2 { // nobody asked for these
		first(t, l, reply(2, true))
		first(t, l, reply(3, true))
		first(t, l, frameAck)
		first(t, l, frameNack)
	}
	got.want(t, "1 true", "2 false", "3 false")
	if odd := l.Oddities(); odd["an answer to nothing"] != 4 || odd["an acknowledgement of nothing"] != 4 {
		t.Errorf("%v", odd)
	}
}

func TestStrangeIsToldOnce(t *testing.T) {
	_, l := newWire()
	var told []string
	counted := 0
	l.Strange, l.Count = func(what string) { told = append(told, what) }, func() { counted++ }
	for range 3 {
		first(t, l, frameAck)
		first(t, l, reply(3, true))
	}
	if len(told) != 2 || counted != 6 {
		t.Errorf("told %q, counted %d", told, counted)
	}
}

// Frames in an unusual form are for Heard, with the same outcome.
func TestHeard(t *testing.T) {
	w, l := newWire()
	var got answers
	for id := range int64(2) {
		_ = l.NewConn("K", id+1, 5, got.add)
	}
	for _, text := range []string{
		`{"cmd":"NODE_HANDLE_ACK" }`, `{"seq":1,"cmd":"NODE_CLUSTER","ack":1,"accepted":true}`, `{ "cmd":"NODE_HANDLE_NACK"}`,
	} {
		m, err := Parse([]byte(text))
		if l.First([]byte(text)) || err != nil || !l.Heard(m) {
			t.Fatalf("%s: %v", text, err)
		}
	}
	got.want(t, "1 true", "2 false")
	for text, want := range map[string]string{
		`{"cmd":"NODE_SOCKET_NOTIFY_CLOSE","key":"k"}`: `{"cmd":"NODE_SOCKET_ALL_CLOSED","key":"k"}`,
		`{"cmd":"NODE_SOCKET_GET_COUNT","key":"k"}`:    `{"cmd":"NODE_SOCKET_COUNT","key":"k","count":0}`,
	} {
		m, _ := Parse([]byte(text))
		if !l.Heard(m) || w.frames[len(w.frames)-1] != want {
			t.Errorf("%s: %s", text, w.frames[len(w.frames)-1])
		}
	}
	if m, _ := Parse([]byte(`{"cmd":"NODE_CLUSTER","act":"online","seq":0}`)); l.Heard(m) {
		t.Error("online is no affair of the channel")
	}
}

// A connection that could not be sent is not waited for.
func TestNewConnFails(t *testing.T) {
	w, l := newWire()
	var got answers
	w.err = errors.New("full")
	if err := l.NewConn("K", 1, 5, got.add); !errors.Is(err, w.err) {
		t.Fatal(err)
	}
	w.err = nil
	_ = l.NewConn("K", 2, 5, got.add)
	first(t, l, frameNack)
	first(t, l, reply(1, true))
	got.want(t, "2 false")
}

// After an agent before, acknowledgements of its descriptors are still under way: they
// must not be taken for those of ours.
func TestAdopt(t *testing.T) {
	_, l := newWire()
	var got answers
	if err := l.Adopt(); err != nil {
		t.Fatal(err)
	}
	for id := range int64(3) {
		_ = l.NewConn("K", 200+id, 5, got.add)
	}
	for _, stale := range []string{frameAck, reply(7, true), frameAck, reply(8, true), frameNack} {
		first(t, l, stale)
	}
	first(t, l, frameAck)
	first(t, l, reply(101, false)) // the ping
	got.want(t)
	first(t, l, frameAck)
	first(t, l, reply(200, true))
	first(t, l, frameNack)
	first(t, l, frameAck)
	first(t, l, reply(202, true))
	got.want(t, "200 true", "201 false", "202 true")
	if odd := l.Oddities(); len(odd) != 0 {
		t.Errorf("%v", odd)
	}
	first(t, l, frameAck)
	if odd := l.Oddities(); len(odd) != 1 {
		t.Errorf("%v", odd)
	}
}

func TestAnswer(t *testing.T) {
	w, l := newWire()
	name := &Sockname{Address: "::", Family: "IPv6", Port: 8000}
	if err := l.Answer(Answer{Seq: 0, Key: "K", Sockname: name}); err != nil {
		t.Fatal(err)
	}
	if want := `{"cmd":"NODE_CLUSTER","errno":0,"key":"K","ack":0,"data":null,"sockname":{"address":"::","family":"IPv6","port":8000},"seq":101}`; w.frames[0] != want {
		t.Errorf("%s", w.frames[0])
	}
	_ = l.Answer(Answer{Seq: 3, Key: "K", Errno: int(unix.EADDRINUSE), Sockname: name, Hand: true, FD: 5})
	if m := w.last(t); m["errno"] != -98.0 || m["sockname"] != nil || len(w.fds[1]) != 0 {
		t.Errorf("%v", m)
	}
	for kind, want := range map[int]string{unix.SOCK_STREAM: "net.Native", unix.SOCK_DGRAM: "dgram.Native"} {
		fd := socket(t, unix.AF_INET6, kind)
		lost := 0
		_ = l.Answer(Answer{Seq: 4, Key: "K", Data: json.RawMessage(`{"a":1}`), Hand: true, FD: fd, Lost: func() { lost++ }})
		m := w.last(t)
		msg, _ := m["msg"].(map[string]any)
		if m["cmd"] != "NODE_HANDLE" || m["type"] != want || msg["ack"] != 4.0 || msg["key"] != "K" || fmt.Sprint(msg["data"]) != "map[a:1]" {
			t.Errorf("%v", m)
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
			t.Errorf("%d: it would block a worker", flags)
		}
		first(t, l, frameNack)
		first(t, l, frameNack)
		if lost != 1 {
			t.Errorf("lost %d times", lost)
		}
	}
}

func TestPlainFrames(t *testing.T) {
	w, l := newWire()
	_ = l.Acknowledge(9)
	_ = l.Disconnect()
	_ = l.Take(true)
	_ = l.Take(false)
	want := []string{
		`{"cmd":"NODE_CLUSTER","ack":9,"seq":101}`, `{"cmd":"NODE_CLUSTER","act":"disconnect","seq":102}`, frameAck, frameNack,
	}
	if !slices.Equal(w.frames, want) {
		t.Errorf("%q", w.frames)
	}
}

func TestUser(t *testing.T) {
	w, l := newWire()
	stream, packets := socket(t, unix.AF_UNIX, unix.SOCK_STREAM), socket(t, unix.AF_INET, unix.SOCK_DGRAM)
	type row struct {
		data string
		fd   int
		kind string
	}
	for in, want := range map[row]string{
		{"{ \"a\":\n\"<é\\ud800>\", \"n\":9007199254740993 }", -1, ""}: `{"a":"<é\ud800>","n":9007199254740993}`,
		{`"ready"`, -1, ""}:               `"ready"`,
		{`{"a":"<"}`, stream, TypeSocket}: `{"cmd":"NODE_HANDLE","type":"net.Socket","msg":{"a":"<"}}`,
		{`1`, stream, TypeServer}:         `{"cmd":"NODE_HANDLE","type":"net.Server","msg":1}`,
		{`null`, packets, TypeDatagram}:   `{"cmd":"NODE_HANDLE","type":"dgram.Socket","dgramType":"udp4","msg":null}`,
		{`{"cmd":"MUSTER_SAYS"}`, -1, ""}: `{"cmd":"MUSTER_SAYS"}`,
		{`{"cmd":"NODE_"}`, -1, ""}:       `{"cmd":"NODE_"}`,
		{`["cmd","NODE_HANDLE"]`, -1, ""}: `["cmd","NODE_HANDLE"]`,
	} {
		if err := l.User([]byte(in.data), in.fd, in.kind); err != nil || w.frames[len(w.frames)-1] != want {
			t.Errorf("%+v: %s, %v", in, w.frames[len(w.frames)-1], err)
		}
	}
	sent := len(w.frames)
	for in, want := range map[row]error{
		{`{`, -1, ""}:                            ErrMessage,
		{``, -1, ""}:                             ErrMessage,
		{`1 2`, -1, ""}:                          ErrMessage,
		{`{"cmd":"NODE_CLUSTER"}`, -1, ""}:       ErrMessage,
		{`{"cmd":"NODE_\u0048ANDLE"}`, -1, ""}:   ErrMessage,
		{`1`, packets, TypeSocket}:               ErrDescriptor,
		{`1`, packets, TypeServer}:               ErrDescriptor,
		{`1`, stream, TypeDatagram}:              ErrDescriptor,
		{`1`, stream, `x"`}:                      ErrDescriptor,
		{`{"cmd":"NODE_X"}`, stream, TypeSocket}: ErrMessage,
	} {
		if err := l.User([]byte(in.data), in.fd, in.kind); !errors.Is(err, want) {
			t.Errorf("%+v: %v", in, err)
		}
	}
	if len(w.frames) != sent {
		t.Errorf("%q", w.frames[sent:])
	}
}

func socket(t *testing.T, family, kind int) int {
	t.Helper()
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// A connection costs no memory: one frame, one acknowledgement, one answer.
func TestHotPathDoesNotAllocate(t *testing.T) {
	l := NewLink(func([]byte, ...int) error { return nil }, func() int64 { return 1 })
	taken := 0
	answered := func(int64, bool) { taken++ }
	ack, answer := []byte(frameAck), []byte(reply(1, true))
	if n := testing.AllocsPerRun(1000, func() {
		_ = l.NewConn("K", 1, 5, answered)
		l.First(ack)
		l.First(answer)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
	if taken < 1000 {
		t.Errorf("%d taken", taken)
	}
}

func TestKinds(t *testing.T) {
	if QueryServer.String() != "queryServer" || Kind(200).String() != "unknown" || !strings.HasPrefix(Handle.String(), prefix) {
		t.Error(QueryServer, Kind(200), Handle)
	}
}

func BenchmarkConn(b *testing.B) {
	l := NewLink(func([]byte, ...int) error { return nil }, func() int64 { return 1 })
	answered := func(int64, bool) {}
	ack, answer := []byte(frameAck), []byte(reply(1, true))
	b.ReportAllocs()
	for b.Loop() {
		_ = l.NewConn("K", 1, 5, answered)
		l.First(ack)
		l.First(answer)
	}
}
