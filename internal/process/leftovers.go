package process

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// Leftover is a process that is left of an agent that was killed.
type Leftover struct {
	PID     int
	Command string // its arguments, separated by blanks, at most 200 bytes
}

// Leftovers lists what KillLeftovers would end, sorted by pid. Threads of the
// kernel and processes that end meanwhile are left out.
func Leftovers(variable, prefix string) ([]Leftover, error) {
	t, err := Scan()
	if err != nil {
		return nil, err
	}
	var list []Leftover
	for _, st := range t.leftovers(variable, prefix) {
		if command := commandLine(st.pid); command != "" {
			list = append(list, Leftover{st.pid, command})
		}
	}
	slices.SortFunc(list, func(a, b Leftover) int { return a.PID - b.PID })
	return list, nil
}

// commandLine is for people to read: what would disturb a terminal is replaced.
func commandLine(pid int) string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil {
		return ""
	}
	words := strings.TrimRight(strings.ReplaceAll(string(text), "\x00", " "), " ")
	words = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, words)
	return words[:min(len(words), 200)]
}

// KillLeftovers ends, by SIGKILL, the processes of an agent that was killed
// before it could end them: those that carry a mark and have the variable in
// their environment with a value that begins with prefix, whatever else carries
// the same mark, and their descendants. It returns how many it killed. Only an
// agent that is alone with that prefix may call it. This process and its
// ancestors are spared.
func KillLeftovers(variable, prefix string) (int, error) {
	killed := map[stat]bool{}
	deadline := time.Now().Add(KillTimeout)
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		t, err := Scan()
		if err != nil {
			return len(killed), err
		}
		left := t.leftovers(variable, prefix)
		if len(left) == 0 {
			return len(killed), nil
		}
		if time.Now().After(deadline) {
			return len(killed), errors.New("some processes cannot be killed")
		}
		for _, st := range left {
			if signalPid(st.pid, st.start, syscall.SIGKILL) == nil {
				killed[stat{pid: st.pid, start: st.start}] = true
			}
		}
		time.Sleep(wait)
	}
}

func (t *Table) leftovers(variable, prefix string) []stat {
	found := map[int]bool{}
	for _, pids := range t.marked(0) {
		for _, pid := range pids {
			if !environHas(pid, variable, prefix) {
				continue
			}
			for _, other := range pids {
				found[other] = true
			}
			break
		}
	}
	t.descend(found)
	for pid := os.Getpid(); pid > 0; pid = t.procs[pid].ppid {
		delete(found, pid)
	}
	var list []stat
	for pid := range found {
		if st, ok := t.procs[pid]; ok && !st.zombie {
			list = append(list, st)
		}
	}
	return list
}

// environHas looks for a variable that begins so.
func environHas(pid int, variable, prefix string) bool {
	env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false
	}
	for kv := range bytes.SplitSeq(env, []byte{0}) {
		if value, ok := strings.CutPrefix(string(kv), variable+"="); ok && strings.HasPrefix(value, prefix) {
			return true
		}
	}
	return false
}
