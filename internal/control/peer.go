package control

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os/user"
	"slices"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/control/socket"
)

// peer is who opened a connection, as the kernel tells. The zero value is nobody.
type peer struct {
	known         bool
	uid, gid, pid int
	groups        []int  // supplementary
	name          string // of one that is known by something else
	err           error  // why it is not known
}

// String is the By of event.Order. The pid is 0 for a peer in another pid
// namespace (a container, or the host of this one).
func (p peer) String() string {
	if p.name != "" {
		return p.name
	}
	return fmt.Sprintf("uid %d pid %d", p.uid, p.pid)
}

// peerOf asks the kernel who is at the other end.
func peerOf(c net.Conn) peer {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return peer{err: fmt.Errorf("%T has no credentials", c)}
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return peer{err: err}
	}
	var p peer
	if err := raw.Control(func(fd uintptr) { p = credentials(int(fd)) }); err != nil {
		return peer{err: err}
	}
	return p
}

func credentials(fd int) peer {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return peer{err: err}
	}
	if cred.Uid == math.MaxUint32 { // so the kernel says "no credentials"
		return peer{err: errors.New("the kernel does not say")}
	}
	p := peer{known: true, uid: int(cred.Uid), gid: int(cred.Gid), pid: int(cred.Pid)}
	if p.groups, err = peerGroups(fd); err != nil {
		p.groups = groupsOfUser(p.uid)
	}
	return p
}

// peerGroups are the supplementary groups that the process really has, which may
// be more or fewer than its user is a member of (SO_PEERGROUPS, Linux 4.13).
func peerGroups(fd int) ([]int, error) {
	list := make([]uint32, 64)
	for {
		size := uint32(len(list) * 4)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&list[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == 0:
			groups := make([]int, 0, size/4)
			for _, gid := range list[:size/4] {
				groups = append(groups, int(gid))
			}
			return groups, nil
		case errno != unix.ERANGE || int(size) <= len(list)*4:
			return nil, errno
		}
		list = make([]uint32, size/4+1)
	}
}

// groupsOfUser is what the user database says; nil when it knows nobody.
func groupsOfUser(uid int) []int {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return nil
	}
	names, err := u.GroupIds()
	if err != nil {
		return nil
	}
	var groups []int
	for _, name := range names {
		if gid, err := strconv.Atoi(name); err == nil {
			groups = append(groups, gid)
		}
	}
	return groups
}

// admit says whether the peer may use a route of this access.
func (s *Server) admit(p peer, _ Access) error {
	switch {
	case !p.known:
		return fault.New(fault.Denied, "it is not known who asks: %w", p.err)
	case p.uid == 0, p.uid == s.options.Owner:
		return nil
	case s.gid != socket.NoGroup && (p.gid == s.gid || slices.Contains(p.groups, s.gid)):
		return nil
	}
	return fault.New(fault.Denied, "uid %d may not use this agent: it belongs to uid %d", p.uid, s.options.Owner)
}

// connKey finds the *conn of a request in its context.
type connKey struct{}

func connOf(ctx context.Context) *conn {
	c, ok := ctx.Value(connKey{}).(*conn)
	if !ok {
		return &conn{peer: peer{err: errors.New("no connection")}, end: ctx}
	}
	return c
}
