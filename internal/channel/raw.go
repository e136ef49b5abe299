package channel

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls here do not wait, so Go's scheduler need not know of them. It would: a
// process in which everybody sleeps wakes the runtime's monitor with the first call
// that it makes when it wakes up, which costs more than the call.

// rawMax is the most that is copied by such a call: the scheduler waits for it.
const rawMax = readMax

// rawRecvmsg is recvmsg with MSG_DONTWAIT. oob may be empty; p is not.
func rawRecvmsg(fd int, p, oob []byte, flags int) (n, oobn, found int, err error) {
	iov := unix.Iovec{Base: unsafe.SliceData(p)}
	iov.SetLen(len(p))
	msg := unix.Msghdr{Iov: &iov}
	msg.SetIovlen(1)
	if len(oob) > 0 {
		msg.Control = unsafe.SliceData(oob)
		msg.SetControllen(len(oob))
	}
	got, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&msg)), uintptr(flags|unix.MSG_DONTWAIT))
	if errno != 0 {
		return 0, 0, 0, errno
	}
	return int(got), int(msg.Controllen), int(msg.Flags), nil
}

// rawSendmsg is sendmsg with MSG_DONTWAIT and MSG_NOSIGNAL, of two pieces; either may be
// empty, but not both.
func rawSendmsg(fd int, a, b []byte) (n int, err error) {
	iov := [2]unix.Iovec{{Base: unsafe.SliceData(a)}, {Base: unsafe.SliceData(b)}}
	iov[0].SetLen(len(a))
	iov[1].SetLen(len(b))
	msg := unix.Msghdr{Iov: &iov[0]}
	msg.SetIovlen(len(iov))
	sent, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&msg)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	if errno != 0 {
		return 0, errno
	}
	return int(sent), nil
}
