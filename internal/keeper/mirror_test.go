package keeper

import (
	"encoding/json"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/process"
)

// scripted is a Client whose keeper is the test.
type scripted struct {
	*raw
	c *Client
}

func newScripted(t *testing.T, processes string) *scripted {
	t.Helper()
	ours, theirs, err := channel.Pair()
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{raw: &raw{t, channel.Open(ours, channel.Options{})}}
	dialled := make(chan error)
	go func() {
		var err error
		s.c, _, err = Dial(theirs)
		dialled <- err
	}()
	s.hear()
	s.say(`{"op":"reply","id":1,"hello":{"protocol":1}}`)
	s.hear()
	s.say(`{"op":"reply","id":2,"processes":[` + processes + `]}`)
	if err := <-dialled; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.c.Close(); s.conn.Close() })
	return s
}

const (
	procA = `{"id":"a","pid":99999999,"start":1,"leader":99999999,"leader_start":1,"meta":"b2xk"`
	exitA = `{"id":"a","pid":99999999,"code":4,"time":"2026-01-02T03:04:05Z"}`
)

// noExit makes sure that nothing is delivered, once the client has heard all.
func (s *scripted) noExit() {
	s.t.Helper()
	s.say(`{"op":"signal","signal":1}`)
	<-s.c.Signals()
	select {
	case e := <-s.c.Exits():
		s.t.Errorf("again: %+v", e)
	case <-time.After(5 * time.Millisecond):
	}
}

// An exit that is told of twice, in a list and by itself, is delivered once.
func TestExitOnce(t *testing.T) {
	s := newScripted(t, procA+`,"exit":`+exitA+`}`)
	s.say(`{"op":"exit","exit":` + exitA + `}`)
	if e := nextExit(t, s.c); e.Code != 4 || e.ID != "a" {
		t.Errorf("%+v", e)
	}
	s.noExit()
}

// An exit that overtakes the reply to its start is that of the process, and is
// delivered; one of nobody is not.
func TestExitBeforeStart(t *testing.T) {
	s := newScripted(t, "")
	s.say(`{"op":"exit","exit":` + exitA + `}`)
	s.noExit()
	started := make(chan process.Proc)
	go func() {
		p, err := s.c.Start(process.Command{ID: "a"})
		if err != nil {
			t.Error(err)
		}
		started <- p
	}()
	s.hear()
	s.say(`{"op":"exit","exit":` + exitA + `}`)
	s.say(`{"op":"reply","id":3,"process":` + procA + `}}`)
	if p := <-started; p.Exit == nil || p.Exit.Code != 4 {
		t.Errorf("%+v", p)
	}
	if e := nextExit(t, s.c); e.Code != 4 {
		t.Errorf("%+v", e)
	}
	s.noExit()
}

// SetMain takes an exit back; the new main process's own comes later, or has
// overtaken the reply.
func TestExitOfNewMain(t *testing.T) {
	s := newScripted(t, procA+`,"exit":`+exitA+`}`)
	nextExit(t, s.c)
	done := make(chan process.Proc)
	go func() {
		p, err := s.c.SetMain("a", 99999998)
		if err != nil {
			t.Error(err)
		}
		done <- p
	}()
	s.hear()
	s.say(`{"op":"exit","exit":{"id":"a","pid":99999998,"code":-1,"signal":9,"time":"2026-01-02T03:04:05Z"}}`)
	s.say(`{"op":"reply","id":3,"process":{"id":"a","pid":99999998,"start":2,"leader":99999999,"leader_start":1}}`)
	if p := <-done; p.PID != 99999998 || p.Leader != 99999999 || p.Exit == nil || p.Exit.Signal != syscall.SIGKILL {
		t.Errorf("%+v", p)
	}
	if e := nextExit(t, s.c); e.PID != 99999998 {
		t.Errorf("%+v", e)
	}
	s.noExit()
}

// A list that is older than an Ack, or a SetMeta, changes neither.
func TestListIsOlder(t *testing.T) {
	b := strings.Replace(procA, `"a"`, `"b"`, 1)
	s := newScripted(t, procA+`,"exit":`+exitA+`},`+b+`}`)
	nextExit(t, s.c)
	listed := make(chan []process.Proc)
	go func() { listed <- s.c.List() }()
	s.hear() // the list is asked for
	s.c.Ack("a")
	if err := s.c.SetMeta("b", []byte("new")); err != nil {
		t.Fatal(err)
	}
	s.say(`{"op":"reply","id":3,"processes":[` + procA + `,"exit":` + exitA + `},` + b + `}]}`)
	if list := <-listed; len(list) != 1 || list[0].ID != "b" || string(list[0].Meta) != "new" {
		t.Errorf("%+v", list)
	}
	if err := s.c.SetMeta("a", nil); !errors.Is(err, process.ErrUnknownID) {
		t.Errorf("%v", err)
	}
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if k := s.c.known; len(k.acked)+len(k.early)+k.due != 0 || len(k.procs) != 1 {
		t.Errorf("%+v", k)
	}
}

// What the keeper says that is not understood is passed over, and told.
func TestClientTolerates(t *testing.T) {
	s := newScripted(t, "")
	for _, frame := range []string{
		`nonsense`, `{"op":"song","id":3}`, `{"op":"exit"}`, `{"op":"trouble"}`, `{"op":"reply","id":77,"fds":1}`,
		`{"op":"trouble","of":"put","about":"x","error":{"text":"full","errno":24}}`,
	} {
		s.say(frame, 0)
	}
	s.noExit()
	first, second := <-s.c.Troubles(), <-s.c.Troubles()
	if !strings.Contains(first.Error(), "cannot be understood") || !errors.Is(second, syscall.EMFILE) || len(s.c.Troubles()) != 0 {
		t.Errorf("%v; %v", first, second)
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
