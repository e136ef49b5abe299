package listener

import "golang.org/x/sys/unix"

// kindOf says how a system call waits, by its number on this architecture.
func kindOf(nr int64) waitKind {
	switch nr {
	case unix.SYS_ACCEPT, unix.SYS_ACCEPT4, unix.SYS_READ,
		unix.SYS_RECVFROM, unix.SYS_RECVMSG, unix.SYS_RECVMMSG:
		return waitDirect
	case unix.SYS_POLL, unix.SYS_PPOLL:
		return waitPoll
	case unix.SYS_SELECT, unix.SYS_PSELECT6:
		return waitSelect
	}
	return noWait
}
