package listener

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Offsets in struct io_uring_params, and where its memory is mapped.
const (
	ringParams  = 120
	sqTail      = 40 + 4
	sqArray     = 40 + 24
	ringMapSQEs = 0x10000000
)

// waitInRing asks an io_uring for a connection on fd, and leaves it waiting.
func waitInRing(fd int) error {
	params := make([]byte, ringParams)
	ring, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&params[0])), 0)
	if errno != 0 {
		return fmt.Errorf("io_uring_setup: %w", errno)
	}
	tail := binary.NativeEndian.Uint32(params[sqTail:])
	array := binary.NativeEndian.Uint32(params[sqArray:])
	queue, err := unix.Mmap(int(ring), 0, int(array)+4*4, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	entries, err := unix.Mmap(int(ring), ringMapSQEs, 4*64, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	entries[0] = ringAccept
	binary.NativeEndian.PutUint32(entries[4:], uint32(fd))
	binary.NativeEndian.PutUint32(queue[array:], 0)
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&queue[tail])), 1)
	n, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, ring, 1, 0, 0, 0, 0)
	if errno != 0 || n != 1 {
		return fmt.Errorf("io_uring_enter: %d, %w", n, errno)
	}
	return nil
}
