// Package sight looks from outside at what a worker's processes do: whether they wait
// for connections on the listeners that they inherit, whether they listen on the ports
// that they shall have, and which one carries on for a main process that has gone.
//
// Everything here polls the kernel's view, in the caller's goroutine, and nothing of it
// is a fact before it is told. It fails by seeing nothing.
package sight

import (
	"context"
	"slices"
	"time"

	"github.com/muster-run/muster/internal/listener"
)

// Look polls the kernel's view of one worker's sockets. Required: everything.
type Look struct {
	// Members are the worker's processes now. Accepting and Foreign are those of the
	// listener room.
	Members   func() []int
	Accepting func(pids []int, inodes []uint64) listener.Answer
	Foreign   func(pids []int, ours map[uint64]bool) ([]listener.Socket, error)
	// Inodes are the stream listeners that it was given; Ours all that it was given.
	Inodes []uint64
	Ours   map[uint64]bool
	// Ports it shall listen on.
	Ports map[int]bool
	// Patience is how long nobody may accept before Ignores is told, once.
	Patience time.Duration
	// Accepts: it waits for connections on all Inodes. HasPorts: it listens on all
	// Ports. Ignores: nobody accepts on the idle ones; own are the sockets that it
	// listens on instead.
	Accepts, HasPorts func()
	Ignores           func(idle []uint64, own []listener.Socket)
}

// Run looks until everything was seen, or ctx ends.
func (s *Look) Run(ctx context.Context) {
	began := time.Now()
	waitAccept, waitPorts, told := len(s.Inodes) > 0, len(s.Ports) > 0, false
	for wait := 5 * time.Millisecond; waitAccept || waitPorts; wait = min(wait*3/2, 200*time.Millisecond) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		pids := s.Members()
		if waitAccept && s.Accepting(pids, s.Inodes) == listener.Yes {
			waitAccept = false
			s.Accepts()
		}
		if waitPorts && s.listensOnPorts(pids) {
			waitPorts = false
			s.HasPorts()
		}
		if waitAccept && time.Since(began) > s.Patience {
			if !told {
				own, _ := s.Foreign(pids, s.Ours)
				s.tell(pids, own)
				told = true
			}
			wait = time.Second
		}
	}
}

// tell reports a worker that does not accept; where the system does not let us
// look, it gets the benefit of the doubt.
func (s *Look) tell(pids []int, own []listener.Socket) {
	if s.Accepting(pids, s.Inodes) == listener.Unknown && len(own) == 0 {
		s.Accepts()
		return
	}
	s.Ignores(s.idle(pids), own)
}

// idle are the listeners that nobody accepts on.
func (s *Look) idle(pids []int) []uint64 {
	var idle []uint64
	for _, inode := range s.Inodes {
		if s.Accepting(pids, []uint64{inode}) != listener.Yes {
			idle = append(idle, inode)
		}
	}
	return idle
}

func (s *Look) listensOnPorts(pids []int) bool {
	own, err := s.Foreign(pids, s.Ours)
	if err != nil {
		return false
	}
	seen := map[int]bool{}
	for _, sock := range own {
		seen[sock.Port] = true
	}
	for port := range s.Ports {
		if !seen[port] {
			return false
		}
	}
	return true
}

// settleTime is how long a program that went to the background gets until we
// look at what it left; it is longer than a look at /proc may be old.
const settleTime = 30 * time.Millisecond

// Successor guesses which process carries on for a main process that has gone:
// the one with the lowest pid, because a master is older than its workers. 0: none.
// It takes its time.
func Successor(members func() []int) int {
	time.Sleep(settleTime)
	left := members()
	if len(left) == 0 {
		return 0
	}
	return slices.Min(left)
}
