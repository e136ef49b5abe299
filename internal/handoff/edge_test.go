package handoff

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/internal/channel"
)

// A frame that comes while the one before is dealt with in a goroutine is heard, though
// its edge was over before anybody could look, and a hot frame lies in between.
func TestEarHearsWhatCameMeanwhile(t *testing.T) {
	l, err := NewLoop()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ours, theirs, err := channel.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(theirs)
	write := func(text string) {
		if _, err := unix.Write(theirs, []byte(text)); err != nil {
			t.Error(err)
		}
	}
	heard := make(chan string, 4)
	conn := channel.Open(ours, channel.Options{Peek: true, Driven: true})
	defer conn.Close()
	e := l.Hear(conn, Hearing{
		First: func(f channel.Frame) bool { return string(f.Data) == "hot" },
		Rest: func(f channel.Frame) {
			if string(f.Data) == "slow" {
				write("last\n")
				pass(20 * time.Millisecond) // the edge comes and goes
			}
			heard <- string(f.Data)
		},
	})
	defer e.Close()
	write("slow\nhot\n")
	for _, want := range []string{"slow", "last"} {
		select {
		case got := <-heard:
			if got != want {
				t.Fatalf("%q, want %q", got, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%q is not heard", want)
		}
	}
}
