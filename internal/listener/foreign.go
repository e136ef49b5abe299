package listener

import (
	"cmp"
	"errors"
	"io/fs"
	"slices"
)

// Socket is a listening socket that a process holds.
type Socket struct {
	Network string // tcp, tcp6 or unix
	Address string // host:port, a path, or @name
	Port    int    // 0 for unix
	Inode   uint64
	PID     int // the first of the pids asked for that holds it
}

// Foreign lists the listening TCP and unix stream sockets that the processes
// hold and that are not ours (by inode), ordered by network and address. What
// could be seen is returned even when some processes could not be looked at; the
// error then wraps fs.ErrPermission. A process that has ended holds nothing.
func Foreign(pids []int, ours map[uint64]bool) ([]Socket, error) {
	holder := map[uint64]int{}
	var errs []error
	for _, pid := range pids {
		fds, err := readFDs(pid)
		if errors.Is(err, fs.ErrPermission) {
			errs = append(errs, err)
		}
		for _, inode := range fds.sockets {
			if _, seen := holder[inode]; !seen && !ours[inode] {
				holder[inode] = pid
			}
		}
	}
	if len(holder) == 0 {
		return nil, errors.Join(errs...)
	}
	return listening(holder), errors.Join(errs...)
}

// listening picks the sockets that listen, from inode → pid.
func listening(holder map[uint64]int) []Socket {
	rows := slices.Concat(socketsAt("tcp", 0), socketsAt("tcp6", 0), unixRows())
	var found []Socket
	for _, r := range rows {
		pid, held := holder[r.inode]
		if !held || !r.accepts {
			continue
		}
		found = append(found, Socket{
			Network: r.network, Address: r.address(), Port: int(r.local.Port()),
			Inode: r.inode, PID: pid,
		})
	}
	slices.SortFunc(found, func(a, b Socket) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.Address, b.Address))
	})
	return found
}
