package apart

import (
	"os/user"
	"strconv"
	"syscall"

	"github.com/muster-run/muster/fault"
)

// assume makes this process run as the user and group of an app; "" changes
// nothing. Faults: E-USER-UNKNOWN, E-PERMISSION.
func assume(name, group string) error {
	uid, gid, groups, err := identity(name, group)
	if err != nil || uid < 0 && gid < 0 || isOwn(uid, gid) {
		return err
	}
	return setIdentity(uid, gid, groups)
}

// isOwn says that a process has this identity already.
func isOwn(uid, gid int) bool {
	return uid == syscall.Getuid() && (gid < 0 || gid == syscall.Getgid())
}

// credential is assume for a child; nil: this process's own.
func credential(name, group string) (*syscall.Credential, error) {
	uid, gid, groups, err := identity(name, group)
	if err != nil || uid < 0 && gid < 0 || isOwn(uid, gid) {
		return nil, err
	}
	c := &syscall.Credential{Uid: uint32(syscall.Getuid()), Gid: uint32(syscall.Getgid())}
	if uid >= 0 {
		c.Uid = uint32(uid)
	}
	if gid >= 0 {
		c.Gid = uint32(gid)
	}
	for _, g := range groups {
		c.Groups = append(c.Groups, uint32(g))
	}
	return c, nil
}

// identity looks names or numbers up; -1 is what is not to change.
func identity(name, group string) (uid, gid int, groups []int, err error) {
	uid, gid = -1, -1
	if name != "" {
		u, err := lookupUser(name)
		if err != nil {
			return uid, gid, nil, fault.New(fault.UserUnknown, "there is no user %s: %w", name, err)
		}
		uid, gid = atoi(u.Uid), atoi(u.Gid)
		ids, _ := u.GroupIds()
		for _, id := range ids {
			groups = append(groups, atoi(id))
		}
	}
	if group != "" {
		g, err := lookupGroup(group)
		if err != nil {
			return uid, gid, nil, fault.New(fault.UserUnknown, "there is no group %s: %w", group, err)
		}
		gid = atoi(g.Gid)
	}
	return uid, gid, groups, nil
}

// setIdentity gives groups up before the user: afterwards the right is gone.
func setIdentity(uid, gid int, groups []int) error {
	if err := syscall.Setgroups(groups); err != nil {
		return fault.New(fault.Permission, "cannot take the app's groups: %w", err)
	}
	if gid >= 0 {
		if err := syscall.Setgid(gid); err != nil {
			return fault.New(fault.Permission, "cannot take group %d: %w", gid, err)
		}
	}
	if uid >= 0 {
		if err := syscall.Setuid(uid); err != nil {
			return fault.New(fault.Permission, "cannot become uid %d: %w", uid, err)
		}
	}
	return nil
}

func lookupUser(name string) (*user.User, error) {
	if _, err := strconv.Atoi(name); err == nil {
		if u, err := user.LookupId(name); err == nil {
			return u, nil
		}
		return &user.User{Uid: name, Gid: name}, nil
	}
	return user.Lookup(name)
}

func lookupGroup(name string) (*user.Group, error) {
	if _, err := strconv.Atoi(name); err == nil {
		return &user.Group{Gid: name}, nil
	}
	return user.LookupGroup(name)
}

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return -1
	}
	return n
}
