package process

import (
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	line := "4711 (a) Z (b) S 12 34 56 0 -1 4194560 98 0 0 0 250 50 0 0 20 0 1 0 123456 1000000 300 18446744073709551615 0\n"
	st, err := parseStat([]byte(line))
	want := stat{
		pid: 4711, ppid: 12, pgrp: 34, session: 56, start: 123456,
		cpu: 3 * time.Second, rss: 300 * int64(os.Getpagesize()),
	}
	if err != nil || st != want {
		t.Errorf("%+v, %v", st, err)
	}
	if st, err := parseStat([]byte(strings.Replace(line, " S ", " Z ", 1))); err != nil || !st.zombie {
		t.Errorf("%+v, %v", st, err)
	}
	threads := strings.Replace(strings.Replace(line, " S ", " Z ", 1), "20 0 1 0", "20 0 3 0", 1)
	if st, err := parseStat([]byte(threads)); err != nil || st.zombie {
		t.Errorf("other threads go on: %+v, %v", st, err)
	}
	for _, bad := range []string{"", "1", "1 (x", "1 (x)", "(x) S 1", ") 1 (", "x (y) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22"} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("1 (x) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 0 0 0 0 9 0 0 0"))
	f.Fuzz(func(_ *testing.T, text []byte) { _, _ = parseStat(text) })
}

// tableOf makes a Table of processes that are not there.
func tableOf(list ...stat) *Table {
	t := &Table{procs: map[int]stat{}, marks: map[int]string{}}
	for _, st := range list {
		t.procs[st.pid] = st
		t.marks[st.pid] = "" // nothing is read
	}
	return t
}

func TestTableMembers(t *testing.T) {
	p := Proc{ID: "a", PID: 10, StartTime: 100}
	table := tableOf(
		stat{pid: 1, ppid: 0, pgrp: 1, session: 1, start: 1},
		stat{pid: 10, ppid: 1, pgrp: 10, session: 10, start: 100},
		stat{pid: 11, ppid: 10, pgrp: 10, session: 10, start: 101},
		stat{pid: 12, ppid: 1, pgrp: 12, session: 10, start: 102},                // same session
		stat{pid: 13, ppid: 11, pgrp: 13, session: 13, start: 103},               // descendant
		stat{pid: 14, ppid: 13, pgrp: 13, session: 13, start: 104},               // and its child
		stat{pid: 15, ppid: 1, pgrp: 15, session: 15, start: 105},                // marked
		stat{pid: 16, ppid: 10, pgrp: 10, session: 10, start: 106, zombie: true}, // does not count
		stat{pid: 20, ppid: 1, pgrp: 20, session: 20, start: 99},                 // stranger
	)
	table.marks[15] = "a:10"
	table.marks[20] = "a:11" // another agent's "a"
	if got := table.Members(p); !slices.Equal(got, []int{10, 11, 12, 13, 14, 15}) {
		t.Errorf("%v", got)
	}
	if u := table.Usage([]int{10, 16, 999}); u.N != 1 {
		t.Errorf("%+v", u)
	}
}

// A number that was given to another process means nobody of ours.
func TestTableMembersAfterReuse(t *testing.T) {
	p := Proc{ID: "a", PID: 10, StartTime: 100}
	stranger := stat{pid: 10, ppid: 1, pgrp: 10, session: 10, start: 200}
	child := stat{pid: 11, ppid: 10, pgrp: 10, session: 10, start: 201}
	if got := tableOf(stranger, child).Members(p); len(got) != 0 {
		t.Errorf("%v", got)
	}
	if got := tableOf(child).Members(p); len(got) != 0 {
		t.Errorf("without a leader: %v", got)
	}
	moved := Proc{ID: "a", PID: 12, StartTime: 150, Leader: 10, LeaderStart: 100} // after SetMain
	if got := tableOf(stranger, child, stat{pid: 12, ppid: 1, pgrp: 10, session: 10, start: 150}).Members(moved); !slices.Equal(got, []int{12}) {
		t.Errorf("after SetMain: %v", got)
	}
}

func TestSignalPidSparesStrangers(t *testing.T) {
	self, err := readStat(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := signalPid(self.pid, self.start+1, syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("%v", err)
	}
	if err := signalPid(self.pid, self.start, 0); err != nil {
		t.Errorf("%v", err)
	}
}

func TestScanSeesThisProcess(t *testing.T) {
	table, err := Scan()
	if err != nil {
		t.Fatal(err)
	}
	u := table.Usage([]int{os.Getpid()})
	if u.N != 1 || u.RSS < 1<<20 {
		t.Errorf("%+v", u)
	}
	if st := table.procs[os.Getpid()]; st.ppid != os.Getppid() || st.start == 0 {
		t.Errorf("%+v", st)
	}
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-time.After(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within 20 s: %s", what)
}

func TestSharedScan(t *testing.T) {
	var s sharedScan
	s.turn.Lock() // as if one were looking
	const callers = 20
	tables := make(chan *Table, callers)
	for range callers {
		go func() {
			table, _ := s.scan()
			tables <- table
		}()
	}
	eventually(t, "someone waits", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.next != nil })
	s.turn.Unlock()
	different := map[*Table]bool{}
	for range callers {
		different[<-tables] = true
	}
	if len(different) > callers/2 {
		t.Errorf("%d looks for %d callers", len(different), callers)
	}
}
