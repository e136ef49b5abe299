package primary

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// A worker that blocks, with connections that wait for it on a listener that it asked
// for, is told of, and its end.
func TestBlockedIsTold(t *testing.T) {
	type notice struct {
		slot int
		f    *fault.Fault
		over bool
	}
	told := make(chan notice, 8)
	l := newLab(t, "node", spec.BalanceSlots)
	l.do(func() { l.p.o.Blocked = func(slot int, f *fault.Fault, over bool) { told <- notice{slot, f, over} } })
	w := l.start(1, serveAny+`; process.on('message', (ms) => { say('blocked'); setTimeout(() => { for (const end = Date.now() + ms; Date.now() < end;); }, 10) })`)
	port := w.port()
	ask(t, 2, "tcp", local(port))
	w.tell(`3000`)
	w.wants(`"blocked"`)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var first notice
	for first.f == nil { // it may take one before it blocks
		select {
		case first = <-told:
		case <-tick.C:
			conn, err := net.Dial("tcp", local(port))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
		}
	}
	if first.slot != 1 || first.over || first.f.Code != fault.Blocked || !strings.Contains(first.f.Text, "tcp://") {
		t.Errorf("%d %v %v", first.slot, first.f, first.over)
	}
	select {
	case end := <-told:
		if end.slot != 1 || !end.over || !strings.Contains(end.f.Text, "again") {
			t.Errorf("%d %v %v", end.slot, end.f, end.over)
		}
	case <-time.After(20 * time.Second):
		t.Error("no end is told")
	}
}
