// Package rights does something to files as another user would be let to.
//
// A worker with a user of its own may ask the agent, which can be root, to make a file
// (a UNIX socket) at a path of the worker's choice. What the worker could not make by
// itself the agent must not make for it.
//
// # Model
//
// Linux keeps the identity that counts for files per thread (setfsuid(2)). Do gives it
// to a thread of its own, which loses root's privileges over files with it, and ends
// with the call. Files made in it belong to that user from the first moment.
//
// # Failures
//
// Of finds no such user (E-USER-UNKNOWN). Do fails when the identity cannot be taken on;
// then nothing is done.
package rights

import (
	"errors"
	"os"
	"os/user"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
)

// Who is a user, as far as files are concerned. The zero value is root.
type Who struct {
	uid, gid int
	groups   []uint32
}

// Of is a user by name or number. One by number that has no entry has only the group
// of nobody, which is 65534.
func Of(name string) (Who, error) {
	entry, err := user.Lookup(name)
	number, bad := strconv.ParseUint(name, 10, 31)
	if err != nil && bad == nil {
		if entry, err = user.LookupId(name); err != nil {
			return Who{uid: int(number), gid: nobody}, nil
		}
	}
	if err != nil {
		return Who{}, fault.New(fault.UserUnknown, "user %q does not exist: %w", name, err)
	}
	uid, err1 := strconv.Atoi(entry.Uid)
	gid, err2 := strconv.Atoi(entry.Gid)
	if err := errors.Join(err1, err2); err != nil {
		return Who{}, fault.New(fault.UserUnknown, "user %q has no numeric identity: %w", name, err)
	}
	who := Who{uid: uid, gid: gid}
	texts, _ := entry.GroupIds() // without them it may do less
	for _, text := range texts {
		if n, err := strconv.ParseUint(text, 10, 32); err == nil {
			who.groups = append(who.groups, uint32(n))
		}
	}
	return who, nil
}

const nobody = 65534

// Do calls f with the rights of who, in a thread of its own, and returns what f does.
// For who this process is already, f is just called. It needs root otherwise.
func (who Who) Do(f func() error) error {
	if who.uid == os.Geteuid() {
		return f()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with this goroutine
		err := who.become()
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// become gives this thread the identity; that of the process is untouched.
func (who Who) become() error {
	groups := unsafe.Pointer(unsafe.SliceData(who.groups))
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(who.groups)), uintptr(groups), 0); errno != 0 {
		return os.NewSyscallError("setgroups", errno)
	}
	_ = unix.Setfsgid(who.gid)
	_ = unix.Setfsuid(who.uid)
	// These two tell of no failure: they are asked what there is now.
	gid, _ := unix.SetfsgidRetGid(-1)
	uid, _ := unix.SetfsuidRetUid(-1)
	if gid != who.gid || uid != who.uid {
		return fault.New(fault.Permission, "cannot act as uid %d, gid %d: %w", who.uid, who.gid, unix.EPERM)
	}
	return nil
}
