package listener

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// PathMax is the longest path by which a client can reach a unix socket, in bytes with
// the terminating zero. Linux would take 108; 104 also holds elsewhere. A longer one is
// bound through its directory: whoever is in there reaches it.
const PathMax = 104

// defaultMode of a unix socket's file.
const defaultMode = 0o600

// bindUnix binds a unix stream socket. The file is created for its maker only,
// given to its owner and group, and only then opened as far as Mode says.
func bindUnix(l spec.Listener) (*os.File, error) {
	if err := checkPath(l.Address); err != nil {
		return nil, err
	}
	owner, err := ownerIDs(l)
	if err != nil {
		return nil, err
	}
	if err := removeStale(l.Address); err != nil {
		return nil, err
	}
	fd, err := newSocket(unix.AF_UNIX, unix.SOCK_STREAM)
	if err != nil {
		return nil, err
	}
	if err := attachUnix(fd, l, owner); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), l.Key()), nil
}

func checkPath(path string) error {
	if !filepath.IsAbs(path) {
		return fault.New(fault.Bind, "socket path %q is not absolute", path).
			WithFix("write the whole path, such as /run/myapp/web.sock")
	}
	name := filepath.Base(path)
	if n := len(through(math.MaxInt32, name)) + 1; isLong(path) && n > PathMax || len(path) >= unix.PathMax {
		return fault.New(fault.SocketPath, "the name of the socket %s is too long", path)
	}
	return nil
}

func isLong(path string) bool { return len(path)+1 > PathMax }

// through is the path of what is called name in an open directory.
func through(dir int, name string) string { return fmt.Sprintf("/proc/self/fd/%d/%s", dir, name) }

// named calls do with the address of a socket's path.
func named(path string, do func(unix.Sockaddr) error) error {
	if !isLong(path) {
		return do(&unix.SockaddrUnix{Name: path})
	}
	dir, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	return do(&unix.SockaddrUnix{Name: through(dir, filepath.Base(path))})
}

// attachUnix binds and listens, and removes the file again when it fails.
func attachUnix(fd int, l spec.Listener, owner ids) error {
	mode := uint32(l.Mode)
	if mode == 0 {
		mode = defaultMode
	}
	// On Linux the file gets the mode of the socket's own inode (less umask), so
	// there is no moment in which it is more open.
	if err := unix.Fchmod(fd, mode&0o600); err != nil {
		return fault.New(fault.Bind, "cannot set the mode of %s: %w", l.Address, err)
	}
	if err := named(l.Address, func(sa unix.Sockaddr) error { return unix.Bind(fd, sa) }); err != nil {
		return explainUnix(l.Address, err)
	}
	err := handOver(l.Address, mode, owner)
	if err == nil {
		err = os.NewSyscallError("listen", unix.Listen(fd, backlogOf(l)))
	}
	if err != nil {
		_ = unix.Unlink(l.Address)
		return err
	}
	keepSpare(l.Address)
	return nil
}

// handOver gives the fresh socket file to its owner and then sets its final mode. It
// works on the file itself, so that nobody can slip in a symlink.
func handOver(path string, mode uint32, owner ids) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fault.New(fault.Bind, "cannot look at %s: %w", path, err)
	}
	defer unix.Close(fd)
	if owner.uid >= 0 || owner.gid >= 0 {
		err := unix.Fchownat(fd, "", owner.uid, owner.gid, unix.AT_EMPTY_PATH)
		if err != nil {
			return fault.New(fault.Permission, "cannot give %s to %s: %w", path, owner, err)
		}
	}
	if err := unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), mode); err != nil {
		return fault.New(fault.Bind, "cannot set the mode of %s: %w", path, err)
	}
	return nil
}

func explainUnix(path string, err error) error {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return inUse(path, err)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return fault.New(fault.Bind, "the directory of %s does not exist: %w", path, err).
			WithFix("create " + filepath.Dir(path) + ", or choose another path under listen:")
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM), errors.Is(err, unix.EROFS):
		return fault.New(fault.Bind, "cannot create %s: %w", path, err).
			WithFix("make " + filepath.Dir(path) + " writable for this user, or choose another path under listen:")
	}
	return fault.New(fault.Bind, "cannot listen on %s: %w", path, err)
}

func inUse(path string, err error) error {
	return fault.New(fault.PortInUse, "%s is already in use%s: %w", path, ownerOf(unixListeners(path)), err)
}

// removeStale removes the socket file of a server that is gone. Live sockets and
// files that are no sockets stay and are reported.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return explainUnix(path, err)
	}
	if info.Mode().Type() != os.ModeSocket {
		return fault.New(fault.Bind, "%s exists and is no socket, so it is left alone", path).
			WithFix("remove that file yourself, or choose another path under listen:")
	}
	switch err := dialUnix(path); {
	case errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.ECONNREFUSED):
		if err := unix.Unlink(path); err != nil && !errors.Is(err, unix.ENOENT) {
			return explainUnix(path, err)
		}
		return nil
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fault.New(fault.Bind, "%s belongs to another user: %w", path, err).
			WithFix("stop its owner and remove the file, or choose another path under listen:")
	default:
		// Connected, a full backlog, or a socket of another type: it lives.
		return inUse(path, unix.EADDRINUSE)
	}
}

// dialUnix tries to connect without waiting; nil means that somebody listens.
func dialUnix(path string) error {
	fd, err := newSocket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return named(path, func(sa unix.Sockaddr) error { return unix.Connect(fd, sa) })
}

// Unlink removes the file of a unix socket that is given up. f is the socket
// itself; a path that meanwhile belongs to another socket stays. Nothing happens
// for other networks, and when the file is gone already. Call it before the last
// descriptor of the socket is closed.
func Unlink(l spec.Listener, f *os.File) error {
	if l.Network != "unix" {
		return nil
	}
	ours, err := Inode(f)
	if err != nil {
		return err
	}
	mine := isLong(l.Address) && sameFile(l.Address, spare(l.Address)) // no table has its path
	for _, row := range unixListeners(l.Address) {
		if row.inode != ours {
			return nil
		}
		mine = true
	}
	if mine {
		_ = unix.Unlink(spare(l.Address))
	}
	info, err := os.Lstat(l.Address)
	if err != nil || !mine || info.Mode().Type() != os.ModeSocket {
		return nil
	}
	if err := unix.Unlink(l.Address); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("cannot remove socket %s: %w", l.Address, err)
	}
	return nil
}

func sameFile(one, other string) bool {
	a, err1 := os.Lstat(one)
	b, err2 := os.Lstat(other)
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}

// ids are the owner and group of a file; -1 leaves one as it is.
type ids struct{ uid, gid int }

func (i ids) String() string { return fmt.Sprintf("uid %d, gid %d", i.uid, i.gid) }

// ownerIDs looks up Owner and Group, which are names or numbers.
func ownerIDs(l spec.Listener) (ids, error) {
	found := ids{-1, -1}
	if l.Owner != "" {
		uid, err := userID(l.Owner)
		if err != nil {
			return found, err
		}
		found.uid = uid
	}
	if l.Group == "" {
		return found, nil
	}
	gid, err := strconv.Atoi(l.Group)
	if err != nil || gid < 0 {
		entry, err := user.LookupGroup(l.Group)
		if err != nil {
			return found, fault.New(fault.UserUnknown, "group %q does not exist: %w", l.Group, err)
		}
		gid, _ = strconv.Atoi(entry.Gid)
	}
	found.gid = gid
	return found, nil
}

func userID(name string) (int, error) {
	if uid, err := strconv.Atoi(name); err == nil && uid >= 0 {
		return uid, nil
	}
	entry, err := user.Lookup(name)
	if err != nil {
		return -1, fault.New(fault.UserUnknown, "user %q does not exist: %w", name, err)
	}
	return strconv.Atoi(entry.Uid)
}
