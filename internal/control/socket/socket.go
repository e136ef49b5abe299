package socket

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// NoGroup is the gid of "no group may".
const NoGroup = -1

// maxSocketPath is the longest path in bytes, without the terminating zero, that
// a UNIX socket may have on every system.
const maxSocketPath = 103

// Listen binds the control socket. Its directory is made 0700 where it is
// missing; one that belongs to another user, or that others may write, is
// refused (fault.StateDir). A socket that nobody listens on is replaced; one
// that answers is fault.AgentRunning. A path over 103 bytes is fault.SocketPath.
//
// The socket has mode from its first moment, 0 meaning 0600, or 0660 with a
// group. With a group (fault.UserUnknown where it does not exist) the socket and
// its directory belong to it, and the group may pass through the directory.
// Close removes the socket, unless another one has taken its place.
func Listen(path, group string, mode spec.FileMode) (*Socket, error) {
	if len(path) > maxSocketPath {
		return nil, fault.New(fault.SocketPath, "the socket's path has %d bytes, %d are allowed", len(path), maxSocketPath).At(path)
	}
	gid, err := LookupGroup(group)
	if err != nil {
		return nil, err
	}
	if mode == 0 {
		mode = 0o600
		if gid != NoGroup {
			mode = 0o660
		}
	}
	if err := makeDir(filepath.Dir(path), gid); err != nil {
		return nil, err
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	return bind(path, gid, fs.FileMode(mode).Perm())
}

// LookupGroup resolves a group's name or number; "" is NoGroup.
func LookupGroup(name string) (int, error) {
	if name == "" {
		return NoGroup, nil
	}
	g, err := user.LookupGroup(name)
	if err == nil {
		return strconv.Atoi(g.Gid)
	}
	if gid, bad := strconv.ParseUint(name, 10, 31); bad == nil {
		return int(gid), nil
	}
	return NoGroup, fault.New(fault.UserUnknown, "there is no group %q: %w", name, err).At("control.group")
}

// makeDir makes or checks the directory of the socket.
func makeDir(dir string, gid int) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fault.New(fault.StateDir, "cannot make the socket's directory: %w", err).At(dir)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fault.New(fault.StateDir, "cannot look at the socket's directory: %w", err).At(dir)
	}
	owner, ownGroup := ownerOf(info)
	switch {
	case !info.IsDir():
		return fault.New(fault.StateDir, "it is no directory").At(dir)
	case owner != os.Geteuid():
		return fault.New(fault.StateDir, "the socket's directory belongs to uid %d, not to uid %d", owner, os.Geteuid()).At(dir)
	case info.Mode().Perm()&0o022 != 0:
		return fault.New(fault.StateDir, "others may write the socket's directory (mode %04o)", info.Mode().Perm()).
			At(dir).WithFix("chmod go-w it, or choose another directory")
	case gid == NoGroup || info.Mode().Perm()&0o001 != 0:
		return nil
	}
	if ownGroup != gid {
		if err := os.Chown(dir, -1, gid); err != nil {
			return fault.New(fault.Permission, "cannot give the socket's directory to the group: %w", err).At(dir)
		}
	}
	if err := os.Chmod(dir, info.Mode().Perm()|0o010); err != nil {
		return fault.New(fault.Permission, "cannot open the socket's directory to the group: %w", err).At(dir)
	}
	return nil
}

func ownerOf(info fs.FileInfo) (uid, gid int) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid), int(st.Gid)
	}
	return -1, -1
}

// removeStale makes room for the socket. What is no socket is not touched.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fault.New(fault.StateDir, "cannot look at the socket: %w", err).At(path)
	case info.Mode().Type() != fs.ModeSocket:
		return fault.New(fault.StateDir, "there is something that is no socket").At(path).WithFix("move it away, or choose another path")
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
	}
	// A full queue is somebody who listens, too.
	if err == nil || !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.AgentRunning, "an agent answers on the socket").At(path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.StateDir, "cannot remove the stale socket: %w", err).At(path)
	}
	return nil
}

// bind makes the socket. Linux gives the file the mode that the descriptor had
// before bind, so that it is never open to more users than at the end.
func bind(path string, gid int, mode fs.FileMode) (*Socket, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var bad error
		err := raw.Control(func(fd uintptr) { bad = unix.Fchmod(int(fd), 0o600) })
		return errors.Join(err, bad)
	}}
	l, err := config.Listen(context.Background(), "unix", path)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fault.New(fault.AgentRunning, "another agent took the socket: %w", err).At(path)
	}
	if err != nil {
		return nil, fault.New(fault.Bind, "cannot bind the control socket: %w", err).At(path)
	}
	if gid != NoGroup {
		err = os.Chown(path, -1, gid)
	}
	if err == nil {
		err = os.Chmod(path, mode)
	}
	info, statErr := os.Lstat(path)
	if err = errors.Join(err, statErr); err != nil {
		l.Close()
		os.Remove(path)
		return nil, fault.New(fault.Permission, "cannot set who may use the control socket: %w", err).At(path)
	}
	return newSocket(l.(*net.UnixListener), path, info), nil
}

// Adopt makes the control socket at path of the one that an agent before this
// has bound there (Socket.File): what waits in its queue is answered. f stays the
// caller's. It fails when the file is no longer there, and nobody could connect.
func Adopt(f *os.File, path string) (*Socket, error) {
	info, err := os.Lstat(path)
	if err == nil && info.Mode().Type() != fs.ModeSocket {
		err = errors.New("it is no socket")
	}
	if err != nil {
		return nil, fault.New(fault.SocketGone, "the control socket is gone: %w", err).At(path)
	}
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fault.New(fault.Internal, "the control socket cannot be taken over: %w", err).At(path)
	}
	own, ok := l.(*net.UnixListener)
	if !ok || own.Addr().String() != path {
		l.Close()
		return nil, fault.New(fault.Internal, "what was kept is another socket: %s", l.Addr()).At(path)
	}
	return newSocket(own, path, info), nil
}

// Socket is the control socket. It removes its file when it is closed.
type Socket struct {
	*net.UnixListener
	path string
	own  fs.FileInfo
	once sync.Once
}

func newSocket(l *net.UnixListener, path string, own fs.FileInfo) *Socket {
	l.SetUnlinkOnClose(false)
	return &Socket{UnixListener: l, path: path, own: own}
}

// Keep makes Close leave the file alone: another agent goes on with the socket.
func (s *Socket) Keep() { s.once.Do(func() {}) }

// Close implements net.Listener.
func (s *Socket) Close() error {
	s.once.Do(s.unlink)
	return s.UnixListener.Close()
}

func (s *Socket) unlink() {
	if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.own) {
		os.Remove(s.path)
	}
}
