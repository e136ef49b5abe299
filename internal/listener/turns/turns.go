// Package turns is a program in the kernel by which the sockets of a SO_REUSEPORT group
// take turns.
//
// # Model
//
// Attach loads a program of extended BPF with a counter of its own and gives it to a
// group. Both live as long as the group has the program; the process keeps nothing.
//
// # Failures
//
// Without CAP_BPF, or in a kernel without BPF, the system refuses: the group is then as
// it was.
package turns

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Attach makes the sockets of a group take turns: the k-th connection goes to
// the k-th live socket, modulo their number, whoever it comes from. It needs
// CAP_BPF (root has it); without, an error, and a hash has to do, which is as even
// as chance. The program is kept by the group.
//
// What it does, in the kernel, for the first packet of each connection:
//
//	n := counter++
//	i := n % live
//	for d in dead, rising { if i >= d { i++ } }
//	return i
func Attach(fd int, dead []int, n int) error {
	counter, err := bpf(unix.BPF_MAP_CREATE, []uint32{unix.BPF_MAP_TYPE_ARRAY, 4, 4, 1, 0})
	if err != nil {
		return os.NewSyscallError("bpf", err)
	}
	defer unix.Close(counter)
	program, err := loadProgram(turns(counter, dead, n))
	if err != nil {
		return os.NewSyscallError("bpf", err)
	}
	defer unix.Close(program)
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_EBPF, program))
}

// instruction of the kernel's extended BPF (linux/bpf.h, struct bpf_insn).
type instruction struct {
	code uint8
	regs uint8 // destination, and source in the upper half
	off  int16
	imm  int32
}

const (
	mapLookup = 1 // BPF_FUNC_map_lookup_elem
	mapFD     = 1 // BPF_PSEUDO_MAP_FD
	fetchAdd  = 1 // BPF_ADD | BPF_FETCH
	// 32-bit arithmetic with a constant.
	setK, addK, modK = unix.BPF_ALU | unix.BPF_MOV | unix.BPF_K, unix.BPF_ALU | unix.BPF_ADD | unix.BPF_K, unix.BPF_ALU | unix.BPF_MOD | unix.BPF_K
)

func turns(counter int, dead []int, n int) []instruction {
	const r0, r1, r2, r10 = 0, 1, 2, 10
	on := func(dst, src uint8) uint8 { return dst | src<<4 }
	program := []instruction{
		{unix.BPF_ST | unix.BPF_MEM | unix.BPF_W, r10, -4, 0}, // key 0 on the stack
		{unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_X, on(r2, r10), 0, 0},
		{unix.BPF_ALU64 | unix.BPF_ADD | unix.BPF_K, r2, 0, -4},
		{unix.BPF_LD | unix.BPF_DW | unix.BPF_IMM, on(r1, mapFD), 0, int32(counter)},
		{},
		{unix.BPF_JMP | unix.BPF_CALL, 0, 0, mapLookup},
		{unix.BPF_JMP | unix.BPF_JNE | unix.BPF_K, r0, 2, 0}, // the verifier wants to see it
		{setK, r0, 0, -1},
		{unix.BPF_JMP | unix.BPF_EXIT, 0, 0, 0},
		{setK, r1, 0, 1},
		{unix.BPF_STX | unix.BPF_ATOMIC | unix.BPF_W, on(r0, r1), 0, fetchAdd},
		{unix.BPF_ALU | unix.BPF_MOV | unix.BPF_X, on(r0, r1), 0, 0},
		{modK, r0, 0, int32(n - len(dead))},
	}
	for _, d := range dead {
		program = append(program,
			instruction{unix.BPF_JMP32 | unix.BPF_JLT | unix.BPF_K, r0, 1, int32(d)},
			instruction{addK, r0, 0, 1})
	}
	return append(program, instruction{unix.BPF_JMP | unix.BPF_EXIT, 0, 0, 0})
}

// loadProgram has the kernel check a program.
func loadProgram(program []instruction) (fd int, err error) {
	license := []byte("Apache-2.0\x00")
	var pinned runtime.Pinner // the kernel follows addresses that Go does not see
	defer pinned.Unpin()
	pinned.Pin(&program[0])
	pinned.Pin(&license[0])
	attr := struct {
		kind, count           uint32
		instructions, license uint64
		_                     [24]uint32 // no log, no name: the rest is zero
	}{
		kind: unix.BPF_PROG_TYPE_SOCKET_FILTER, count: uint32(len(program)),
		instructions: address(&program[0]), license: address(&license[0]),
	}
	return call(unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
}

func address[T any](p *T) uint64 { return uint64(uintptr(unsafe.Pointer(p))) }

// bpf is a call whose attributes are words.
func bpf(command uintptr, attr []uint32) (fd int, err error) {
	return call(command, unsafe.Pointer(&attr[0]), uintptr(4*len(attr)))
}

func call(command uintptr, attr unsafe.Pointer, size uintptr) (fd int, err error) {
	r, _, errno := unix.Syscall(unix.SYS_BPF, command, uintptr(attr), size)
	if errno != 0 {
		return -1, errno
	}
	return int(r), nil
}
