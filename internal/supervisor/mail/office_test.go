package mail

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/nodejs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// worker is a process with a channel: its box, and its end.
type worker struct {
	*testing.T
	box *Box
	end *channel.Conn
}

// join makes a running worker.
func join(t *testing.T, o *Office, app string, slot int, tags ...string) *worker {
	t.Helper()
	ours, theirs, err := channel.Pair()
	if err != nil {
		t.Fatal(err)
	}
	conn := channel.Open(ours, channel.Options{})
	w := &worker{t, &Box{App: app, Tags: tags, Slot: slot, Carrier: Plain{conn}}, channel.Open(theirs, channel.Options{})}
	t.Cleanup(func() { conn.Close(); w.end.Close() })
	o.Open(w.box, 100+slot)
	return w
}

// next is the next frame that the worker reads; the test closes its descriptors.
func (w *worker) next() channel.Frame {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	f, err := w.end.Receive(ctx)
	if err != nil {
		w.Fatalf("%s: %v", w.box, err)
	}
	return f
}

func (w *worker) wants(text string) {
	w.Helper()
	if f := w.next(); string(f.Data) != text || len(f.FDs) > 0 {
		w.Errorf("%s got %s and %d descriptors, want %s", w.box, f.Data, len(f.FDs), text)
	}
}

func text(data string) Letter { return Letter{Data: []byte(data), FD: None} }

// pick is To without an error.
func pick(t *testing.T, selector string) func(*Box) bool {
	t.Helper()
	to, err := To(selector)
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func names(list []Delivery) string {
	var all []string
	for _, d := range list {
		name := d.Worker
		if d.Fault != nil {
			name += " " + string(d.Fault.Code)
		}
		all = append(all, name)
	}
	return strings.Join(all, ",")
}

func TestSendPicks(t *testing.T) {
	o := new(Office)
	for _, w := range []struct {
		app  string
		slot int
	}{{"web", 1}, {"web", 0}, {"api", 0}} {
		join(t, o, w.app, w.slot, "edge-"+w.app)
	}
	for selector, want := range map[string]string{
		"web": "web#0,web#1", "web#1": "web#1", "all": "api#0,web#0,web#1", "tag:edge-api": "api#0",
		"a*,web#0": "api#0,web#0", "web#7": "", "nobody": "",
	} {
		if got := names(o.Send(pick(t, selector), text("1"))); got != want {
			t.Errorf("%s: %q, want %q", selector, got, want)
		}
	}
	if _, err := To("web#x"); fault.CodeOf(err) != fault.Usage {
		t.Error(err)
	}
}

// TestSendInOrder: bytes arrive as they were sent, in that order; a closed box gets
// nothing more.
func TestSendInOrder(t *testing.T) {
	o := new(Office)
	w := join(t, o, "web", 0)
	sent := []string{`{"b": 1,  "a":"\u003c<é"}`, `null`, `"` + strings.Repeat("x", 200<<10) + `"`, `1.0e5`}
	for _, s := range sent {
		if got := names(o.Send(pick(t, "web"), text(s))); got != "web#0" {
			t.Fatal(got)
		}
	}
	for _, s := range sent {
		w.wants(s)
	}
	o.Close(w.box)
	o.Close(w.box)
	if got := o.Send(pick(t, "all"), text("1")); got != nil {
		t.Error(got)
	}
	if got := o.Counts(); got != (Counts{Carried: 4}) {
		t.Errorf("%+v", got)
	}
}

// TestADeafWorkerStopsNobody: what waits for it is bounded, it alone has the fault,
// and others get theirs.
func TestADeafWorkerStopsNobody(t *testing.T) {
	o := new(Office)
	deaf, well := join(t, o, "web", 0), join(t, o, "web", 1)
	big := `"` + strings.Repeat("x", 512<<10) + `"`
	begun, refused := time.Now(), 0
	for range 40 {
		list := o.Send(pick(t, "web"), text(big))
		if list[1].Fault != nil {
			t.Fatal(list[1].Fault)
		}
		well.wants(big)
		if f := list[0].Fault; f != nil {
			refused++
			if f.Code != fault.ChannelFull || f.Where != "web#0" {
				t.Fatal(f)
			}
		}
	}
	if refused < 25 {
		t.Errorf("%d of 40 messages were refused", refused)
	}
	if _, waits := deaf.box.Carrier.Waiting(); waits > waitingBytes+len(big)+1 {
		t.Errorf("%d bytes wait", waits)
	}
	if took := time.Since(begun); took > 15*time.Second {
		t.Errorf("it took %s", took)
	}
	for range 40 - refused { // what was accepted arrives, when it reads at last
		deaf.wants(big)
	}
	if got := names(o.Send(pick(t, "web#0"), text("1"))); got != "web#0" {
		t.Error(got)
	}
	deaf.wants("1")
}

// TestManySmallMessages are bounded by their number.
func TestManySmallMessages(t *testing.T) {
	o := new(Office)
	deaf := join(t, o, "web", 0)
	for i := 0; ; i++ {
		if i > 1_000_000 {
			t.Fatal("there is no bound")
		}
		list := o.Send(pick(t, "web"), text("1"))
		if f := list[0].Fault; f != nil {
			if f.Code != fault.ChannelFull {
				t.Fatal(f)
			}
			break
		}
	}
	if frames, _ := deaf.box.Carrier.Waiting(); frames > waitingFrames {
		t.Errorf("%d wait", frames)
	}
}

func TestSendToTheDead(t *testing.T) {
	o := new(Office)
	gone, shut := join(t, o, "web", 0), join(t, o, "web", 1)
	gone.end.Close()
	shut.box.Carrier.(Plain).Close()
	if got := names(o.Send(pick(t, "all"), text("1"))); got != "web#0 E-NO-CHANNEL,web#1 E-NO-CHANNEL" {
		t.Error(got)
	}
	if got := o.Counts(); got != (Counts{Refused: 2}) {
		t.Errorf("%+v", got)
	}
}

// failing carries nothing.
type failing struct{ error }

func (f failing) Carry(Letter) error           { return f.error }
func (f failing) Waiting() (frames, bytes int) { return 0, 0 }

func TestFaultsOfCarriers(t *testing.T) {
	o := new(Office)
	for _, c := range []struct {
		err  error
		code fault.Code
	}{
		{channel.ErrFull, fault.ChannelFull},
		{channel.ErrGone, fault.NoChannel},
		{fmt.Errorf("wrapped: %w", channel.ErrClosed), fault.NoChannel},
		{channel.ErrInvalid, fault.Usage},
		{nodejs.ErrDescriptor, fault.Usage},
		{nodejs.ErrMessage, fault.Usage},
		{errors.New("strange"), fault.NoChannel},
	} {
		b := &Box{App: "web", Carrier: failing{c.err}}
		o.Open(b, 1)
		list := o.Send(pick(t, "all"), text("1"))
		o.Close(b)
		if len(list) != 1 || list[0].Fault == nil || list[0].Fault.Code != c.code || list[0].Fault.Where != "web#0" {
			t.Errorf("%v: %+v", c.err, list)
		}
	}
}

// TestForward: a worker speaks to others, and hears what cannot be done.
func TestForward(t *testing.T) {
	o := new(Office)
	a, b, c := join(t, o, "web", 0), join(t, o, "web", 1), join(t, o, "api", 0, "edge")
	for _, x := range []struct {
		frame string
		want  map[*worker]string
	}{
		{`{"cmd":"MUSTER_SEND","to":"web","msg":{"n": 1}}`, map[*worker]string{b: `{"n": 1}`}},
		{`{"cmd":"MUSTER_SEND","to":"all","msg":"x"}`, map[*worker]string{b: `"x"`, c: `"x"`}},
		{`{"cmd":"MUSTER_SEND","to":"web#0","msg":null}`, map[*worker]string{a: `null`}},
		{`{"cmd":"MUSTER_SEND","to":"tag:edge","msg":[]}`, map[*worker]string{c: `[]`}},
		{`{"cmd":"MUSTER_SEND","to":"web#9","msg":1,"id":{"k":2}}`, map[*worker]string{a: `{"cmd":"MUSTER_FAILED","id":{"k":2},"to":"web#9","code":"E-NOT-RUNNING","text":"\"web#9\" matches no running worker that could get a message"}`}},
		{`{"cmd":"MUSTER_SEND","to":"","msg":1}`, map[*worker]string{a: `{"cmd":"MUSTER_FAILED","to":"","code":"E-USAGE","text":"MUSTER_SEND has no to: name a worker, an app, tag:NAME, role:NAME or all"}`}},
		{`{"cmd":"MUSTER_SEND","to":"web"}`, map[*worker]string{a: `{"cmd":"MUSTER_FAILED","to":"web","code":"E-USAGE","text":"MUSTER_SEND has no msg"}`}},
		{`{"cmd":"MUSTER_SEND","to":"web#x","msg":1}`, map[*worker]string{a: `"E-USAGE"`}},
		{`{"cmd":"MUSTER_SEND","to":7,"msg":1}`, map[*worker]string{a: `"E-USAGE"`}},
		{`{"cmd":"MUSTER_SEND","to":"web","msg":{"cmd":"NODE_CLUSTER","act":"disconnect"}}`, map[*worker]string{a: `"E-USAGE"`}},
		{`{"cmd":"MUSTER_SEND","to":"web","msg":{"cmd":"MUSTER_READY"}}`, map[*worker]string{a: `"E-USAGE"`}},
	} {
		o.Forward(a.box, []byte(x.frame), None, "")
		o.Send(pick(t, "all"), text(`"end"`))
		for _, w := range []*worker{a, b, c} {
			if want := x.want[w]; want != "" {
				if f := w.next(); string(f.Data) != want && (want != `"E-USAGE"` || !bytes.Contains(f.Data, []byte(`"code":"E-USAGE"`))) {
					t.Errorf("%s: %s got %s, want %s", x.frame, w.box, f.Data, want)
				}
			}
			w.wants(`"end"`)
		}
	}
}

// TestForwardTellsOfEach that did not get it.
func TestForwardTellsOfEach(t *testing.T) {
	o := new(Office)
	a, b, c := join(t, o, "web", 0), join(t, o, "web", 1), join(t, o, "web", 2)
	b.end.Close()
	o.Forward(a.box, []byte(`{"cmd":"MUSTER_SEND","to":"web","msg":1,"id":5}`), None, "")
	c.wants("1")
	a.wants(`{"cmd":"MUSTER_FAILED","id":5,"to":"web","worker":"web#1","code":"E-NO-CHANNEL","text":"it has closed its channel"}`)
}

// TestForwardADescriptor: every receiver gets one of its own, and the sender's stays
// the caller's.
func TestForwardADescriptor(t *testing.T) {
	o := new(Office)
	a, b, c := join(t, o, "web", 0), join(t, o, "web", 1), join(t, o, "web", 2)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	o.Forward(a.box, []byte(`{"cmd":"MUSTER_SEND","to":"web","msg":{"take":1}}`), int(w.Fd()), "")
	w.Close()
	for i, x := range []*worker{b, c} {
		f := x.next()
		if len(f.FDs) != 1 || string(f.Data) != `{"take":1}` {
			t.Fatalf("%s got %s, %d descriptors", x.box, f.Data, len(f.FDs))
		}
		if _, err := unix.Write(f.FDs[0], []byte{byte('0' + i)}); err != nil {
			t.Error(err)
		}
		unix.Close(f.FDs[0])
	}
	got := make([]byte, 3)
	if n, err := r.Read(got); err != nil || string(got[:n]) != "01" {
		t.Errorf("%q, %v", got[:n], err)
	}
	if n, err := r.Read(got); n != 0 || err == nil {
		t.Error("somebody still has the pipe:", n, err)
	}
}

func TestKindOf(t *testing.T) {
	listening, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listening.Close()
	connected, err := net.Dial("tcp", listening.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connected.Close()
	datagrams, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	type filer interface{ File() (*os.File, error) }
	for _, c := range []struct {
		of   any
		want string
	}{{listening, nodejs.TypeServer}, {connected, nodejs.TypeSocket}, {datagrams, nodejs.TypeDatagram}} {
		f, err := c.of.(filer).File()
		if err != nil {
			t.Fatal(err)
		}
		if got := kindOf(int(f.Fd())); got != c.want {
			t.Errorf("%T is %s, want %s", c.of, got, c.want)
		}
		f.Close()
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	defer r.Close()
	if got := kindOf(int(r.Fd())); got == nodejs.TypeSocket || got == nodejs.TypeServer {
		t.Error("a pipe is", got)
	}
}

// TestOfficeAtOnce: everything may happen at the same time; nobody gets a letter
// twice, and each sender's letters stay in order.
func TestOfficeAtOnce(t *testing.T) {
	const senders, each = 4, 100
	o := new(Office)
	w := join(t, o, "web", 0)
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for i := range each {
				for {
					list := o.Send(pick(t, "web#0"), text(fmt.Sprintf("[%d,%d]", s, i)))
					if list[0].Fault == nil {
						break
					}
				}
				b := &Box{App: "other", Slot: i, Carrier: failing{nil}}
				o.Open(b, i)
				o.Send(pick(t, "other"), text("1"))
				o.Close(b)
			}
		})
	}
	next := map[int]int{}
	for range senders * each {
		var v [2]int
		if err := json.Unmarshal(w.next().Data, &v); err != nil {
			t.Fatal(err)
		}
		if v[1] != next[v[0]] {
			t.Fatalf("sender %d: letter %d, want %d", v[0], v[1], next[v[0]])
		}
		next[v[0]]++
	}
	wg.Wait()
}

func TestInternal(t *testing.T) {
	for msg, bad := range map[string]bool{
		`{"cmd":"NODE_X"}`: true, `{"cmd":"MUSTER_X"}`: true, `{"a":1,"cmd":"\u004eODE_X"}`: true,
		`{"cmd":"x"}`: false, `"NODE_X"`: false, `{"cmd":"NODE_"}`: false, `[{"cmd":"NODE_X"}]`: false,
	} {
		if f := Internal([]byte(msg)); (f != nil) != bad {
			t.Errorf("%s: %v", msg, f)
		}
	}
}

// TestMeter: a hundred in a second, large ones count more, and none is forgotten.
func TestMeter(t *testing.T) {
	var m Meter
	now := time.Date(2026, 11, 22, 5, 0, 0, 0, time.UTC)
	count := func(at time.Time, n, size int) (events, missed int) {
		for range n {
			if e := m.Said(at, bytes.Repeat([]byte("1"), size), 0); e != nil {
				events++
				missed += e.Missed
				if e.Size != size {
					t.Fatalf("size %d, want %d", e.Size, size)
				}
			}
		}
		return events, missed
	}
	if n, missed := count(now, 250, 1); n != publishedMax || missed != 0 {
		t.Errorf("%d events, %d missed", n, missed)
	}
	if n, _ := count(now.Add(999*time.Millisecond), 10, 1); n != 0 {
		t.Errorf("%d events too early", n)
	}
	if n, missed := count(now.Add(time.Second), 10, 1); n != 10 || missed != 160 {
		t.Errorf("%d events, %d missed", n, missed)
	}
	if n, _ := count(now.Add(2*time.Second), 100, 64<<10); n != 20 {
		t.Errorf("%d large ones", n)
	}
	if n, missed := count(now, 1, 1); n != 1 || missed != 80 { // the clock was set back
		t.Errorf("%d events, %d missed", n, missed)
	}
}

// TestShown: an event can always be told, whatever a worker sent.
func TestShown(t *testing.T) {
	for _, c := range []struct{ data, want string }{
		{`{"a": [1]}`, `{"a": [1]}`},
		{`no json`, `"no json"`},
		{"\xff\x00", `"\ufffd\u0000"`},
		{`{"a":1} 2`, `"{\"a\":1} 2"`},
	} {
		if got := shown([]byte(c.data)); string(got) != c.want {
			t.Errorf("%q: %s, want %s", c.data, got, c.want)
		}
	}
	long := shown([]byte(`"` + strings.Repeat("é", 40<<10) + `"`))
	var back string
	if err := json.Unmarshal(long, &back); err != nil || !strings.HasPrefix(back, `"éé`) || len(back) > 64<<10+3 {
		t.Errorf("%d bytes, %v", len(back), err)
	}
	deep := shown([]byte(strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)))
	if !json.Valid(deep) || reflect.DeepEqual(deep[0], byte('[')) {
		t.Error("what is too deep for a reader was passed on")
	}
}
