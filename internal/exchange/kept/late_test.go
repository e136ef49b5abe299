package kept

import (
	"fmt"
	"testing"

	"github.com/muster-run/muster/internal/op"
)

// back is what was kept for a party.
func back(l *Late, p *Party) (list []string) {
	l.For(p, func(frame []byte) {
		f, err := op.Parse(frame)
		if err != nil {
			panic(err)
		}
		list = append(list, f.Channel+"/"+f.Queue+string(f.Body))
	})
	return list
}

func with(subs ...Subscription) *Party {
	p := New(Record{ID: "x", Do: DoHello})
	for _, s := range subs {
		p.Subs[s] = true
	}
	return p
}

func TestLate(t *testing.T) {
	left := Table{
		"a": with(Subscription{"room", ""}, Subscription{"work", "q"}), "b": with(Subscription{"room", ""}, Subscription{"work", "q"}),
		"c": with(Subscription{"other", ""}),
	}
	var l Late
	nobody := func(string) bool { return false }
	publish := func(channel, body string, here func(string) bool) int {
		return l.Keep(left, op.Frame{Cmd: op.CmdOp, Op: "message", Channel: channel, Body: []byte(body)}, here)
	}
	got := fmt.Sprint(publish("room", "1", nobody), publish("work", "2", nobody), publish("work", "3", func(q string) bool { return q == "q" }),
		publish("none", "4", nobody), publish("room", "5", nobody))
	if got != "2 1 0 0 2" {
		t.Error("kept for", got)
	}
	for name, want := range map[string]string{"a": "[room/1 work/q2 room/5]", "c": "[]"} {
		if got := fmt.Sprint(back(&l, left[name])); got != want {
			t.Errorf("%s got %s, want %s", name, got, want)
		}
	}
	if got := fmt.Sprint(back(&l, left["b"])); got != "[room/1 room/5]" { // the queue's went to a
		t.Error("b got", got)
	}
	l.Drop()
	if got := back(&l, left["b"]); got != nil || l.bytes != 0 {
		t.Error(got)
	}
}

func TestLateIsBounded(t *testing.T) {
	left := Table{"a": with(Subscription{"room", ""})}
	var l Late
	body := make([]byte, 1<<20)
	for i := range body {
		body[i] = '1'
	}
	kept := 0
	for range 10 {
		kept += l.Keep(left, op.Frame{Cmd: op.CmdOp, Op: "message", Channel: "room", Body: body}, func(string) bool { return false })
	}
	if kept != 3 {
		t.Errorf("%d MiB were kept", kept)
	}
}
