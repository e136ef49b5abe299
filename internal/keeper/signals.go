package keeper

import (
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// interrupts is how many SIGINT end everything at once: the first asks the agent
// for the end, the second for a quick one.
const interrupts = 3

// signals are those that muster was sent. The agent obeys them, not the keeper.
type signals struct {
	in chan os.Signal
	// asked are those for the end, each at most twice, in order: every successor
	// is told of them.
	asked []syscall.Signal
	// waiting are others that came while there was no agent.
	waiting []syscall.Signal
	// ints counts SIGINT.
	ints int
}

// catch begins to catch signals. Keeper and agent are in one process group: what
// a terminal sends to it comes to both, and the agent obeys the keeper only.
func catch() signals {
	s := signals{in: make(chan os.Signal, 64)}
	signal.Notify(s.in, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP,
		syscall.SIGUSR2, syscall.SIGTTIN, syscall.SIGTTOU)
	signal.Ignore(syscall.SIGPIPE) // whoever reads stderr may go
	return s
}

// take notes a signal.
func (s *signals) take(in os.Signal) syscall.Signal {
	sig, _ := in.(syscall.Signal) // as all are that os/signal delivers here
	switch sig {
	case syscall.SIGINT:
		s.ints++
		s.ask(sig)
	case syscall.SIGTERM, syscall.SIGQUIT:
		s.ask(sig)
	default:
		s.waiting = append(s.waiting, sig)
	}
	return sig
}

// ask keeps a signal that asks for the end.
func (s *signals) ask(sig syscall.Signal) {
	n := 0
	for _, other := range s.asked {
		if other == sig {
			n++
		}
	}
	if n < 2 {
		s.asked = append(s.asked, sig)
	}
}

// forced says that the operator does not wait any longer.
func (s *signals) forced() bool { return s.ints >= interrupts }

// drain returns what waited.
func (s *signals) drain() []syscall.Signal {
	list := s.waiting
	s.waiting = nil
	return list
}

// nameOf is a signal's name: "SIGTERM", or its number.
func nameOf(sig syscall.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return strconv.Itoa(int(sig))
}
