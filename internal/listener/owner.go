package listener

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// littleEndian tells the byte order of this host, in which the kernel prints
// addresses.
func littleEndian() bool {
	return binary.NativeEndian.Uint16([]byte{1, 0}) == 1
}

// conflicts are the sockets that keep at from being bound: those that listen or, where
// none does, connections that were given the port at random, for which the system has
// to go through all that it has.
func (at endpoint) conflicts() []row {
	tables := []string{"tcp", "tcp6"}
	if at.datagram {
		tables = []string{"udp", "udp6"}
	}
	for _, look := range []func(string, int) []row{socketsAt, usersOf} {
		var found []row
		for _, table := range tables {
			for _, r := range look(table, at.port) {
				if at.overlaps(r) && r.inode != 0 { // without an inode it is TIME_WAIT
					found = append(found, r)
				}
			}
		}
		if len(found) > 0 {
			return found
		}
	}
	return nil
}

// overlaps says whether the socket's address and at's can meet. An IPv6 wildcard
// may or may not take IPv4; the table does not tell, so it counts.
func (at endpoint) overlaps(r row) bool {
	other := r.local.Addr()
	if other.Is6() && other.IsUnspecified() || at.dual {
		return true
	}
	if other.Unmap().Is4() != at.addr.Is4() {
		return false
	}
	return other.Unmap() == at.addr || other.IsUnspecified() || at.addr.IsUnspecified()
}

// ownerOf is " by …" for people: pids and commands where they are visible, else
// uid and inode; "" when nothing is known.
func ownerOf(rows []row) string {
	if len(rows) == 0 {
		return ""
	}
	inodes := map[uint64]bool{}
	for _, r := range rows {
		inodes[r.inode] = true
	}
	holders := holdersOf(inodes, time.Now().Add(ownerBudget))
	if len(holders) == 0 {
		first := rows[0]
		if first.uid < 0 {
			return fmt.Sprintf(" by a process that is not visible (socket inode %d)", first.inode)
		}
		return fmt.Sprintf(" by a process of uid %d (socket inode %d)", first.uid, first.inode)
	}
	text := fmt.Sprintf(" by pid %d (%s)", holders[0], commandOf(holders[0]))
	if more := len(holders) - 1; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// ownerBudget bounds the search for who holds a socket: the text of an error is not
// worth more, and there may be a million descriptors on the host.
const ownerBudget = 250 * time.Millisecond

// holdersOf lists the processes that hold one of the sockets, lowest pid first, as far
// as they are found in time.
func holdersOf(inodes map[uint64]bool, until time.Time) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []int
	for _, e := range entries {
		if time.Now().After(until) {
			break
		}
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		fds, _ := readFDs(pid)
		for _, inode := range fds.sockets {
			if inodes[inode] {
				found = append(found, pid)
				break
			}
		}
	}
	slices.Sort(found)
	return found
}

// commandOf is the start of a process's command line, at most 60 bytes, without
// what could disturb a terminal.
func commandOf(pid int) string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	text := strings.TrimRight(strings.ReplaceAll(string(raw), "\x00", " "), " ")
	if err != nil || text == "" {
		raw, _ = os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		text = strings.TrimSpace(string(raw))
	}
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, text)
	if len(text) > 60 {
		text = strings.ToValidUTF8(text[:57], "") + "..."
	}
	return text
}
