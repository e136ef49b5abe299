package listener

import (
	"fmt"
	"os"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/internal/listener/turns"
)

// Steer says which sockets of a group get new connections: live are indexes of a
// group of n, see BindGroup; f is any socket of it. They take turns where that is
// allowed (CAP_BPF); elsewhere a hash of the client's address chooses. With none
// live the kernel spreads over all, as it does in a group that was never steered.
// It holds until the next call, and is to be repeated when the group has grown or
// shrunk. It takes effect for connections whose first packet comes after it; those
// that wait in a queue stay there. No privilege is needed.
func Steer(f *os.File, live []int, n int) error {
	dead := complement(live, n)
	return control(f, func(fd int) error {
		if len(dead) == n {
			return unsteer(fd)
		}
		if turns.Attach(fd, dead, n) == nil {
			return nil
		}
		if len(dead) == 0 {
			return unsteer(fd)
		}
		return attachFilter(fd, slices.Concat(flowHash(), pick(dead, n)))
	})
}

// Queue is how many connections wait to be accepted on a listening TCP socket.
func Queue(f *os.File) (waiting int, err error) {
	err = control(f, func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return os.NewSyscallError("getsockopt", err)
		}
		if info.State != tcpListen {
			return fmt.Errorf("%s does not listen: %w", f.Name(), unix.EINVAL)
		}
		waiting = int(info.Unacked) // of a listening socket: its accept queue
		return nil
	})
	return waiting, err
}

// complement are the numbers below n that are not in live, rising.
func complement(live []int, n int) []int {
	var rest []int
	for i := range n {
		if !slices.Contains(live, i) {
			rest = append(rest, i)
		}
	}
	return rest
}

// unsteer takes the program away. A group that has none is as wanted.
func unsteer(fd int) error {
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF, 0)
	if err == unix.ENOENT || err == unix.EINVAL { // no program; no group, but one socket
		return nil
	}
	return os.NewSyscallError("setsockopt", err)
}

func attachFilter(fd int, program []unix.SockFilter) error {
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &prog)
	runtime.KeepAlive(program)
	return os.NewSyscallError("setsockopt", err)
}

// Where a classic BPF program finds what is not the payload, from linux/filter.h.
const (
	offHash    = 0xfffff000 + 32 // SKF_AD_OFF + SKF_AD_RXHASH
	offNetwork = 0xfff00000      // SKF_NET_OFF: the IP header
)

func statement(code int, k uint32) unix.SockFilter { return unix.SockFilter{Code: uint16(code), K: k} }

// jump skips yes or no instructions.
func jump(test int, k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: uint16(unix.BPF_JMP | test | unix.BPF_K), Jt: yes, Jf: no, K: k}
}

// flowHash leaves a hash of the connection in the accumulator: that of the network
// card or of the sender on this host, and where there is none, our own.
func flowHash() []unix.SockFilter {
	own := tupleHash()
	return append([]unix.SockFilter{
		statement(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, offHash),
		jump(unix.BPF_JEQ, 0, 0, uint8(len(own))),
	}, own...)
}

// tupleHash mixes the client's address and port. IP options shift the port, which
// then is some other part of the packet: never wrong, only spread less well.
func tupleHash() []unix.SockFilter {
	const (
		word = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		half = unix.BPF_LD | unix.BPF_H | unix.BPF_ABS
		b    = unix.BPF_LD | unix.BPF_B | unix.BPF_ABS
		alu  = unix.BPF_ALU | unix.BPF_K
	)
	return []unix.SockFilter{
		statement(b, offNetwork),
		statement(alu|unix.BPF_RSH, 4), // the version
		jump(unix.BPF_JEQ, 4, 0, 4),
		statement(word, offNetwork+12), // IPv4: source address
		statement(unix.BPF_MISC|unix.BPF_TAX, 0),
		statement(half, offNetwork+20), // and port
		statement(unix.BPF_JMP|unix.BPF_JA, 3),
		statement(word, offNetwork+20), // IPv6: the last word of the source address
		statement(unix.BPF_MISC|unix.BPF_TAX, 0),
		statement(half, offNetwork+40), // and port
		statement(unix.BPF_ALU|unix.BPF_ADD|unix.BPF_X, 0),
		// Ports of one client follow each other in steps of two: the upper bits of
		// a product with a large odd number do not.
		statement(alu|unix.BPF_MUL, 0x9e3779b1),
		statement(alu|unix.BPF_RSH, 16),
	}
}

// pick turns the hash into the index of a live socket: the k-th of those that are
// not dead. An index out of range would make the kernel choose among all.
func pick(dead []int, n int) []unix.SockFilter {
	program := []unix.SockFilter{
		statement(unix.BPF_ALU|unix.BPF_MOD|unix.BPF_K, uint32(n-len(dead))),
	}
	for _, d := range dead {
		program = append(program,
			jump(unix.BPF_JGE, uint32(d), 0, 1),
			statement(unix.BPF_ALU|unix.BPF_ADD|unix.BPF_K, 1))
	}
	return append(program, statement(unix.BPF_RET|unix.BPF_A, 0))
}
