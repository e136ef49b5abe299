package process

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/internal/process/cgroup"
)

// clockTick is what /proc/PID/stat counts time in: USER_HZ, 100 a second on
// every Linux that Go runs on.
const clockTick = time.Second / 100

// stat is what is used of /proc/PID/stat.
type stat struct {
	pid, ppid, pgrp, session int
	start                    uint64 // clock ticks since boot
	cpu                      time.Duration
	rss                      int64 // bytes
	zombie                   bool
	kernel                   bool // a kernel thread
}

// Table is one look at all processes of the machine. One Table serves any
// number of Procs: looking at 500 workers is one pass over /proc. Safe for
// concurrent use.
type Table struct {
	procs map[int]stat

	marking sync.Mutex
	marks   map[int]string // by pid, of those asked for; "" has none
}

// Usage of processes.
type Usage struct {
	CPU time.Duration // user + system, of those that live
	RSS int64         // bytes
	N   int           // how many are alive
}

// Scan looks at all processes once. Processes that it may not see are not there.
func Scan() (*Table, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	t := &Table{procs: make(map[int]stat, len(names))}
	buf := make([]byte, 1024)
	for _, name := range names {
		if name[0] < '1' || name[0] > '9' {
			continue
		}
		text, err := readSmall("/proc/"+name+"/stat", buf)
		if err != nil {
			continue // it has ended meanwhile
		}
		if st, err := parseStat(text); err == nil {
			t.procs[st.pid] = st
		}
	}
	return t, nil
}

// readStat looks at one process.
func readStat(pid int) (stat, error) {
	text, err := readSmall("/proc/"+strconv.Itoa(pid)+"/stat", make([]byte, 1024))
	if err != nil {
		return stat{}, err
	}
	return parseStat(text)
}

// readSmall reads the beginning of a file without the cost of an os.File.
func readSmall(path string, buf []byte) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, buf)
	return buf[:max(n, 0)], err
}

// parseStat reads a line of proc_pid_stat(5). The name may hold anything, also
// ") ": the last one counts.
func parseStat(text []byte) (stat, error) {
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 1 || end < open {
		return stat{}, errors.New("no process status")
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(text[:open])))
	f := bytes.Fields(text[end+1:]) // f[0] is field 3
	if err != nil || len(f) < 22 {
		return stat{}, errors.New("no process status")
	}
	number := func(field int) int64 {
		n, _ := strconv.ParseInt(string(f[field-3]), 10, 64)
		return n
	}
	return stat{
		pid: pid, ppid: int(number(4)), pgrp: int(number(5)), session: int(number(6)),
		start: uint64(number(22)),
		cpu:   time.Duration(number(14)+number(15)) * clockTick,
		rss:   number(24) * int64(os.Getpagesize()),
		// X: dead, about to vanish. A first thread that has ended while others
		// (field 20 counts them) go on looks like a zombie, and is none.
		zombie: f[0][0] == 'X' || f[0][0] == 'Z' && number(20) <= 1,
		kernel: number(9)&0x00200000 != 0, // PF_KTHREAD
	}, nil
}

// Members is Proc.Members at the time of the scan.
func (t *Table) Members(p Proc) []int {
	found := map[int]bool{}
	for _, st := range t.seeds(p) {
		found[st] = true
	}
	t.descend(found)
	for pid := range found {
		if st, ok := t.procs[pid]; !ok || st.zombie {
			delete(found, pid)
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// seeds are the pids known to belong to p: by main pid, group, session, cgroup
// and mark. They may hold zombies.
func (t *Table) seeds(p Proc) []int {
	var pids []int
	if st, ok := t.procs[p.PID]; ok && st.start == p.StartTime {
		pids = append(pids, p.PID)
	}
	leader, start := p.leader()
	pids = append(pids, t.group(leader, start)...)
	pids = append(pids, t.marksOf(mark(p.ID, leader), start)...)
	return append(pids, cgroup.Pids(p.Cgroup)...)
}

// group returns the members of a process group and session. Their number means
// what it meant only while the process that it was given to is there, if only
// as a zombie (Direct keeps it until Ack): afterwards it may be a stranger's.
func (t *Table) group(leader int, start uint64) []int {
	if st, ok := t.procs[leader]; !ok || st.start != start {
		return nil
	}
	var pids []int
	for pid, st := range t.procs {
		if st.pgrp == leader || st.session == leader {
			pids = append(pids, pid)
		}
	}
	return pids
}

// descend adds the children of what was found, and theirs.
func (t *Table) descend(found map[int]bool) {
	for grown := len(found) > 0; grown; {
		grown = false
		for pid, st := range t.procs {
			if found[st.ppid] && !found[pid] {
				found[pid], grown = true, true
			}
		}
	}
}

// marksOf finds processes by their environment. Only those that started at since
// or later can carry the mark; even on a host with many processes that are few.
func (t *Table) marksOf(value string, since uint64) []int {
	return t.marked(since)[value]
}

// marked finds the marks of processes that started at since or later. Each
// environment is read once per Table.
func (t *Table) marked(since uint64) map[string][]int {
	t.marking.Lock()
	defer t.marking.Unlock()
	if t.marks == nil {
		t.marks = map[int]string{}
	}
	self, buf := os.Getpid(), make([]byte, 16<<10)
	found := map[string][]int{}
	for pid, st := range t.procs {
		// This process may itself be marked, as the worker of another agent.
		if st.start < since || st.zombie || st.kernel || pid == self {
			continue
		}
		if _, read := t.marks[pid]; !read {
			t.marks[pid] = readMark(pid, buf)
		}
		if mark := t.marks[pid]; mark != "" {
			found[mark] = append(found[mark], pid)
		}
	}
	return found
}

// mark is the value of MarkEnv.
func mark(id string, leader int) string { return id + ":" + strconv.Itoa(leader) }

// readMark returns the MUSTER_PROC of a process, "" when it has none or when
// its environment may not be read. Environments are read whole: they may be
// larger than buf.
func readMark(pid int, buf []byte) string {
	path := "/proc/" + strconv.Itoa(pid) + "/environ"
	env, err := readSmall(path, buf)
	if err == nil && len(env) == len(buf) {
		env, err = os.ReadFile(path)
	}
	if err != nil {
		return ""
	}
	prefix := []byte(MarkEnv + "=")
	i := bytes.Index(env, append([]byte{0}, prefix...)) + 1
	if i == 0 && !bytes.HasPrefix(env, prefix) {
		return ""
	}
	value, _, _ := bytes.Cut(env[i+len(prefix):], []byte{0})
	return string(value)
}

// Usage adds up some pids at the time of the scan. Pages shared between
// processes count once for each.
func (t *Table) Usage(pids []int) Usage {
	var u Usage
	for _, pid := range pids {
		if st, ok := t.procs[pid]; ok && !st.zombie {
			u.CPU += st.cpu
			u.RSS += st.rss
			u.N++
		}
	}
	return u
}

// sharedScan lets callers that come at the same time share one look, which
// starts after each of them has asked.
type sharedScan struct {
	turn sync.Mutex // held while looking
	mu   sync.Mutex
	next *scanCall // has not started yet
}

type scanCall struct {
	done  chan struct{}
	table *Table
	err   error
}

func (s *sharedScan) scan() (*Table, error) {
	s.mu.Lock()
	call := s.next
	if call != nil {
		s.mu.Unlock()
		<-call.done
		return call.table, call.err
	}
	call = &scanCall{done: make(chan struct{})}
	s.next = call
	s.mu.Unlock()
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	s.next = nil
	s.mu.Unlock()
	call.table, call.err = Scan()
	close(call.done)
	return call.table, call.err
}
