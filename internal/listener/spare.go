package listener

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// spare is a second name of a unix socket's file. Some programs (php-fpm) remove
// the file of a socket that they have only inherited when they end; the kernel
// has no way to give a file without any name a new one.
func spare(path string) string {
	dir, name := filepath.Split(path)
	return dir + "." + name + ".muster"
}

// keepSpare makes the second name, in the place of one that a killed muster has
// left. Where that cannot be done, Restore will say so.
func keepSpare(path string) {
	_ = unix.Unlink(spare(path))
	_ = os.Link(path, spare(path))
}

// Restore puts back the file of a unix socket that somebody has removed while
// the socket is in use. restored: it was gone and is there again. A path that
// another file has taken meanwhile stays as it is. The error is a SocketGone
// fault. Nothing happens for other networks.
func Restore(l spec.Listener) (restored bool, err error) {
	if l.Network != "unix" {
		return false, nil
	}
	if _, err := os.Lstat(l.Address); !errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	switch err := os.Link(spare(l.Address), l.Address); {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrExist):
		return false, nil // somebody was faster
	default:
		return false, fault.New(fault.SocketGone, "the file of %s was removed and cannot be put back: %w", l.Address, err)
	}
}
