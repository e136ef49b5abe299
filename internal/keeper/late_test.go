package keeper

import (
	"slices"
	"syscall"
	"testing"

	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/process/processtest"
)

// slowStarter takes as long for a start as the test wants.
type slowStarter struct {
	*processtest.Fake
	begun, pass chan string
}

// Start implements process.Starter.
func (s slowStarter) Start(c process.Command) (process.Proc, error) {
	s.begun <- c.ID
	<-s.pass
	return s.Fake.Start(c)
}

// An agent that dies while a program is slow to start (a dead network file system)
// is followed by one that knows nothing of it: it must not run on as nobody's. One
// that the next agent has asked for is its own.
func TestLateStartIsNobodys(t *testing.T) {
	slow := slowStarter{processtest.NewFake(), make(chan string, 4), make(chan string)}
	store := process.NewDirectStore()
	defer store.Close()
	s := serverOf(slow, noSpools, store)
	begin := func(ids ...string) *session {
		ours, theirs, err := channel.Pair()
		if err != nil {
			t.Fatal(err)
		}
		x := s.serve(ours, Hello{}, &notedOrders{})
		c, _, err := Dial(theirs)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			go c.Start(process.Command{ID: id, Argv: []string{"x"}}) // never answered, or ends with the client
			<-slow.begun
		}
		t.Cleanup(func() { c.Close() })
		return x
	}
	begin("lost", "kept").close() // waits startsWithin for them
	next := begin("kept")
	for range 3 {
		slow.pass <- ""
	}
	next.close()
	s.close() // every start has ended
	if got := slow.Signals("lost"); !slices.Contains(got, syscall.SIGKILL) {
		t.Errorf("nobody's process got %v", got)
	}
	if got := slow.Signals("kept"); len(got) != 0 {
		t.Errorf("the next agent's process got %v", got)
	}
}
