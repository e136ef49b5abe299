package load

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Kind is how a request was lost.
type Kind string

// The ways to lose a request.
const (
	Refused Kind = "refused" // nobody listened
	Reset   Kind = "reset"   // the connection was reset
	EOF     Kind = "eof"     // the connection was closed before the answer was complete
	Status  Kind = "non-200" // an answer, but not 200
	Garbled Kind = "garbled" // a 200 that does not name release and pid
	Hung    Kind = "hung"    // no complete answer within the timeout
	Other   Kind = "other"   // anything else, such as no free port
)

// Kinds lists every Kind.
func Kinds() []Kind { return []Kind{Refused, Reset, EOF, Status, Garbled, Hung, Other} }

// keptErrors is how many error texts a Report keeps.
const keptErrors = 20

// Side is what one kind of client counted.
type Side struct {
	Answers int
	Lost    map[Kind]int
}

// Total is how many requests were lost in any way.
func (s Side) Total() int {
	n := 0
	for _, v := range s.Lost {
		n += v
	}
	return n
}

// String is "1234 answers, 0 lost" or "1234 answers, 3 lost (2 reset, 1 eof)".
func (s Side) String() string {
	var parts []string
	for _, k := range Kinds() {
		if n := s.Lost[k]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, k))
		}
	}
	text := fmt.Sprintf("%d answers, %d lost", s.Answers, s.Total())
	if len(parts) > 0 {
		text += " (" + strings.Join(parts, ", ") + ")"
	}
	return text
}

// Report is what a run counted.
type Report struct {
	Fresh, Kept, Sockets Side
	// Closed is how many WebSockets the server has closed in good order, with no
	// message unanswered.
	Closed int
	// Longest is the longest time to a complete answer, since the last Mark.
	Longest time.Duration
	// Seen counts the answers by who gave them, since the last Mark.
	Seen map[Who]int
	// Errors holds the texts of the first lost requests, at most 20.
	Errors []string
}

func newReport() Report {
	side := func() Side { return Side{Lost: map[Kind]int{}} }
	return Report{Fresh: side(), Kept: side(), Sockets: side(), Seen: map[Who]int{}}
}

// Answers is how many requests were answered well.
func (r Report) Answers() int { return r.Fresh.Answers + r.Kept.Answers + r.Sockets.Answers }

// Lost is how many requests were lost.
func (r Report) Lost() int { return r.Fresh.Total() + r.Kept.Total() + r.Sockets.Total() }

// Of is how many were lost in one way.
func (r Report) Of(k Kind) int { return r.Fresh.Lost[k] + r.Kept.Lost[k] + r.Sockets.Lost[k] }

// PIDs lists the processes that answered, in order.
func (r Report) PIDs() []int {
	set := map[int]bool{}
	for w := range r.Seen {
		set[w.PID] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// Releases lists the releases that answered, in order.
func (r Report) Releases() []string {
	set := map[string]bool{}
	for w := range r.Seen {
		set[w.Release] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// String is one line with the counts and the longest answer, and one more for
// each error text.
func (r Report) String() string {
	text := fmt.Sprintf("new connections: %s; keep-alive: %s", r.Fresh, r.Kept)
	if r.Sockets.Answers+r.Sockets.Total() > 0 {
		text += fmt.Sprintf("; WebSocket: %s, %d closed in good order", r.Sockets, r.Closed)
	}
	text += fmt.Sprintf("; longest %v", r.Longest.Round(time.Millisecond))
	for _, e := range r.Errors {
		text += "\n    " + e
	}
	return text
}

func (r Report) clone() Report {
	r.Fresh.Lost = maps.Clone(r.Fresh.Lost)
	r.Kept.Lost = maps.Clone(r.Kept.Lost)
	r.Sockets.Lost = maps.Clone(r.Sockets.Lost)
	r.Seen = maps.Clone(r.Seen)
	r.Errors = slices.Clone(r.Errors)
	return r
}

// fresh, kept and sockets choose the side of a report.
func fresh(r *Report) *Side   { return &r.Fresh }
func kept(r *Report) *Side    { return &r.Kept }
func sockets(r *Report) *Side { return &r.Sockets }

func (r *Run) count(of func(*Report) *Side, who Who, took time.Duration, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	side := of(&r.report)
	if err == nil {
		side.Answers++
		r.report.Seen[who]++
		r.report.Longest = max(r.report.Longest, took)
		return
	}
	side.Lost[kindOf(err)]++
	if len(r.report.Errors) < keptErrors {
		r.report.Errors = append(r.report.Errors,
			fmt.Sprintf("%s %s: %v", time.Now().Format("15:04:05.000"), kindOf(err), err))
	}
}
