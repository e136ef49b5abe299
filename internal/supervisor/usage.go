package supervisor

import (
	"sync"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/internal/process"
)

const (
	// memoryEvery is how often limits.memory is checked.
	memoryEvery = 5 * time.Second
	// tableAge is how old a look at /proc may be for the watchers of starting
	// workers: a hundred of them then cost one look, not a hundred.
	tableAge = 15 * time.Millisecond
	// usageAge is how old the figures of a status may be.
	usageAge = time.Second
)

// usage looks at /proc for all workers together and keeps what CPU they had
// used, so that a percentage can be told. Safe for concurrent use.
type usage struct {
	mu    sync.Mutex
	table *process.Table
	taken time.Time

	last map[string]sample // by process ID: what the last fill saw
}

type sample struct {
	cpu time.Duration
	at  time.Time
	pct float64
}

// look returns a table of all processes that is at most age old.
func (u *usage) look(age time.Duration) *process.Table {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.table == nil || time.Since(u.taken) > age {
		if table, err := process.Scan(); err == nil {
			u.table, u.taken = table, time.Now()
		}
	}
	return u.table
}

// members are the pids of everything that came from a process.
func (u *usage) members(p process.Proc) []int {
	if table := u.look(tableAge); table != nil {
		return table.Members(p)
	}
	return nil
}

// refresh makes the figures of the next fills fresh enough for a status.
func (u *usage) refresh() { u.look(usageAge) }

// Fill implements pool.Usage.
func (u *usage) Fill(v *api.Worker, p process.Proc) {
	table := u.look(usageAge)
	if table == nil {
		return
	}
	used := table.Usage(table.Members(p))
	v.Memory, v.Processes = used.RSS, used.N
	v.CPU = u.percent(p.ID, used.CPU)
}

// percent of one core between this look and the one before.
func (u *usage) percent(id string, cpu time.Duration) float64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.last == nil {
		u.last = map[string]sample{}
	}
	last, known := u.last[id]
	if known && !u.taken.After(last.at) {
		return last.pct
	}
	s := sample{cpu: cpu, at: u.taken}
	if span := u.taken.Sub(last.at); known && span > 0 && cpu >= last.cpu {
		s.pct = 100 * float64(cpu-last.cpu) / float64(span)
	}
	u.last[id] = s
	return s.pct
}

func (u *usage) forget(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.last, id)
}

// Memory implements pool.Usage.
func (u *usage) Memory(p process.Proc) (int64, bool) {
	table := u.look(memoryEvery / 2)
	if table == nil {
		return 0, false
	}
	return table.Usage(table.Members(p)).RSS, true
}
