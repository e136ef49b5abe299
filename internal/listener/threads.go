package listener

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// waitKind says how the arguments of a system call name the sockets waited on.
type waitKind int

const (
	noWait     waitKind = iota
	waitDirect          // argument 0 is the descriptor
	waitPoll            // arguments 0 and 1 are an array of struct pollfd
	waitSelect          // arguments 0 and 1 are a count and an fd_set
)

// maxSet bounds what is read of another process for one poll or select call.
const maxSet = 1 << 20

// lookThreads adds the sockets that threads are blocked on. It returns true when
// a thread could not be looked at.
func (p process) lookThreads(waits map[uint64]bool) (blind bool) {
	if !seesSystemCalls() {
		return true
	}
	tasks := fmt.Sprintf("/proc/%d/task", p.pid)
	entries, err := os.ReadDir(tasks)
	if err != nil {
		return errors.Is(err, fs.ErrPermission)
	}
	for _, e := range entries {
		text, err := os.ReadFile(tasks + "/" + e.Name() + "/syscall")
		if errors.Is(err, fs.ErrPermission) {
			return true
		}
		fds, err := p.waitedOn(string(text))
		blind = blind || errors.Is(err, unix.EPERM)
		for _, fd := range fds {
			if inode, ok := p.fds.sockets[fd]; ok {
				waits[inode] = true
			}
		}
	}
	return blind
}

// seesSystemCalls is false where the kernel (or a sandbox that plays one) does
// not show the system calls of threads, or we do not know their numbers.
func seesSystemCalls() bool {
	_, err := os.Stat("/proc/self/syscall")
	return err == nil && kindOf(unix.SYS_ACCEPT4) != noWait
}

// waitedOn are the descriptors that a thread waits on, from its "NR ARG0 … SP PC"
// line. A thread that runs, or that is blocked elsewhere, waits on none.
func (p process) waitedOn(line string) ([]int, error) {
	f := strings.Fields(line)
	if len(f) < 7 {
		return nil, nil
	}
	nr, err := strconv.ParseInt(f[0], 10, 64)
	arg0, err0 := strconv.ParseUint(f[1], 0, 64)
	arg1, err1 := strconv.ParseUint(f[2], 0, 64)
	if err != nil || err0 != nil || err1 != nil {
		return nil, nil
	}
	switch kindOf(nr) {
	case waitDirect:
		return []int{int(int32(arg0))}, nil
	case waitPoll:
		set, err := p.read(arg0, arg1*pollFDSize)
		return fdsOfPoll(set), err
	case waitSelect:
		count := uint64(uint32(arg0))
		set, err := p.read(arg1, (count+63)/64*8)
		return fdsOfSelect(set, int(count)), err
	case noWait:
	}
	return nil, nil
}

// read copies memory of the process.
func (p process) read(address, size uint64) ([]byte, error) {
	if address == 0 || size == 0 || size > maxSet {
		return nil, nil
	}
	buf := make([]byte, size)
	local := []unix.Iovec{{Base: &buf[0]}}
	local[0].SetLen(len(buf))
	remote := []unix.RemoteIovec{{Base: uintptr(address), Len: len(buf)}}
	n, err := unix.ProcessVMReadv(p.pid, local, remote, 0)
	if err != nil {
		return nil, os.NewSyscallError("process_vm_readv", err)
	}
	return buf[:n], nil
}
