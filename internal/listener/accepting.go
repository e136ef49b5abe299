package listener

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Answer is what Accepting saw.
type Answer int

// The answers.
const (
	// Unknown: the system does not let us look at a process that could be
	// waiting, or it could be waiting in a way that cannot be seen (io_uring).
	Unknown Answer = iota
	// No: at least one socket has nobody who waits for connections on it.
	No
	// Yes: some process waits for connections on every socket.
	Yes
)

// String is the answer in one word.
func (a Answer) String() string {
	switch a {
	case No:
		return "no"
	case Yes:
		return "yes"
	case Unknown:
	}
	return "unknown"
}

// Accepting says whether for every socket (by inode) at least one of the
// processes waits for connections: the socket is in an epoll set of that process,
// or a thread is blocked on it in accept, poll or select (for datagrams, in a
// receive call), or the process holds a connection that came from the socket. It
// is one look at this moment: a server that is busy between two calls of poll and
// holds no connection is not seen, so ask again before believing No. Without
// sockets the answer is Yes.
//
// A process that does not hold a socket costs one listing of its descriptors.
func Accepting(pids []int, inodes []uint64) Answer {
	open := map[uint64]verdict{}
	for _, inode := range inodes {
		open[inode] = idle
	}
	hidden := false
	for _, pid := range pids {
		if len(open) == 0 {
			return Yes
		}
		fds, err := readFDs(pid)
		if err != nil {
			hidden = hidden || errors.Is(err, fs.ErrPermission)
			continue
		}
		process{pid: pid, fds: fds}.judge(open)
	}
	answer := Yes
	for _, v := range open {
		if v == idle && !hidden {
			return No
		}
		answer = Unknown
	}
	return answer
}

// verdict is what is known of a socket that nobody has been seen waiting on.
type verdict int

const (
	idle   verdict = iota
	unsure         // a holder could not be looked at
)

// process is one process that is looked at.
type process struct {
	pid int
	fds fdTable
}

// judge removes from open the sockets that the process waits on, and marks those
// it might wait on.
func (p process) judge(open map[uint64]verdict) {
	var held []uint64
	for inode := range open {
		if p.fds.holds(inode) {
			held = append(held, inode)
		}
	}
	if len(held) == 0 {
		return
	}
	waits := map[uint64]bool{}
	blind := p.lookEpoll(waits)
	if !all(waits, held) {
		blind = p.lookThreads(waits) || blind
	}
	if !all(waits, held) {
		p.lookAccepted(held, waits)
	}
	if !all(waits, held) {
		blind = p.lookRings() || blind
	}
	for _, inode := range held {
		if waits[inode] {
			delete(open, inode)
		} else if blind {
			open[inode] = unsure
		}
	}
}

func all(waits map[uint64]bool, held []uint64) bool {
	for _, inode := range held {
		if !waits[inode] {
			return false
		}
	}
	return true
}

// lookEpoll adds the sockets in the process's epoll sets. It returns true when a
// set could not be read.
func (p process) lookEpoll(waits map[uint64]bool) (blind bool) {
	dev := socketDevice()
	for _, fd := range p.fds.epolls {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", p.pid, fd))
		blind = blind || errors.Is(err, fs.ErrPermission)
		for line := range strings.Lines(string(text)) {
			t, ok := parseTarget(line)
			if !ok || t.events&pollIn == 0 {
				continue
			}
			switch {
			case !t.named:
				// Before Linux 4.13 there is only the number, which may have
				// been closed and used again since.
				waits[p.fds.sockets[t.fd]] = true
			case t.device == dev:
				waits[t.inode] = true
			}
		}
	}
	return blind
}

// target is one member of an epoll set.
type target struct {
	fd     int
	events uint64
	named  bool // inode and device are known
	inode  uint64
	device uint64
}

// parseTarget reads "tfd: 3 events: 19 data: 3 pos:0 ino:2d7e sdev:9"; all but
// the first number are hexadecimal.
func parseTarget(line string) (t target, ok bool) {
	rest, ok := strings.CutPrefix(line, "tfd:")
	if !ok {
		return t, false
	}
	f := strings.Fields(strings.ReplaceAll(rest, ":", ": "))
	if len(f) < 3 || f[1] != "events:" {
		return t, false
	}
	fd, err1 := strconv.Atoi(f[0])
	events, err2 := strconv.ParseUint(f[2], 16, 64)
	t.fd, t.events = fd, events
	for i := 3; i+1 < len(f); i += 2 {
		n, err := strconv.ParseUint(f[i+1], 16, 64)
		if err != nil {
			continue
		}
		switch f[i] {
		case "ino:":
			t.inode, t.named = n, true
		case "sdev:":
			t.device = n
		}
	}
	return t, err1 == nil && err2 == nil
}

// socketDevice is the device number of sockets as the kernel prints it, so that
// a socket's inode is not taken for that of another kind of file.
func socketDevice() uint64 {
	fd, err := newSocket(unix.AF_UNIX, unix.SOCK_DGRAM)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0
	}
	return uint64(unix.Major(st.Dev))<<20 | uint64(unix.Minor(st.Dev))
}

// Operations that may wait for a connection, as io_uring numbers them.
const (
	ringPollAdd = 6
	ringAccept  = 13
)

// lookRings says whether a connection may be waited for in an io_uring, which
// tells the operation but not its socket.
func (p process) lookRings() (blind bool) {
	for _, fd := range p.fds.rings {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", p.pid, fd))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		_, list, found := strings.Cut(string(text), "PollList:")
		if err != nil || !found || ringWaits(list) {
			return true
		}
	}
	return false
}

// ringWaits reads the "op=13, task_works=0" lines of a ring.
func ringWaits(list string) bool {
	for line := range strings.Lines(list) {
		var op int
		if _, err := fmt.Sscanf(strings.TrimSpace(line), "op=%d,", &op); err != nil {
			continue
		}
		if op == ringAccept || op == ringPollAdd {
			return true
		}
	}
	return false
}

// Bits of poll that mean a connection, and the size of struct pollfd.
const (
	pollIn     = 0x01 | 0x40 // POLLIN, POLLRDNORM; the same for epoll
	pollFDSize = 8
)

// fdsOfPoll are the descriptors that a poll call waits on for input.
func fdsOfPoll(set []byte) []int {
	var fds []int
	for ; len(set) >= pollFDSize; set = set[pollFDSize:] {
		if binary.NativeEndian.Uint16(set[4:])&pollIn != 0 {
			fds = append(fds, int(int32(binary.NativeEndian.Uint32(set))))
		}
	}
	return fds
}

// fdsOfSelect are the descriptors below n in a select call's read set.
func fdsOfSelect(set []byte, n int) []int {
	var fds []int
	for fd := 0; fd < n && fd/64*8+8 <= len(set); fd++ {
		if binary.NativeEndian.Uint64(set[fd/64*8:])&(1<<(fd%64)) != 0 {
			fds = append(fds, fd)
		}
	}
	return fds
}
