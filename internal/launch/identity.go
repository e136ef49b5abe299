package launch

import (
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/spec"
)

// account is the user that a worker runs as.
type account struct {
	identity   *process.Identity // nil: nothing to change
	name, home string            // "" when not known, or no user was written
}

// env is what a login would set.
func (a account) env() map[string]string {
	env := map[string]string{}
	if a.name != "" {
		env["USER"], env["LOGNAME"] = a.name, a.name
	}
	if a.home != "" {
		env["HOME"] = a.home
	}
	return env
}

// CheckAccount says whether the app's user and group exist on this host.
func CheckAccount(app spec.App) error {
	_, err := lookup(app)
	return err
}

// Barred is the first directory on the way to path that an app's user may not pass
// through; "": there is none, or the app has no user of its own. Access lists are not
// looked at.
func Barred(app spec.App, path string) string {
	who, err := lookup(app)
	if err != nil || who.identity == nil {
		return ""
	}
	return barred(*who.identity, path)
}

func barred(id process.Identity, path string) string {
	if id.UID == 0 {
		return ""
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); err != nil {
			return "" // whoever uses it will say so
		}
		pass := uint32(0o001)
		switch {
		case st.Uid == id.UID:
			pass = 0o100
		case st.Gid == id.GID || slices.Contains(id.Groups, st.Gid):
			pass = 0o010
		}
		if st.Mode&pass == 0 {
			return dir
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
	}
}

// lookup finds the user and group of an app, by name or number. Without a user it
// is the agent's own, with only the group changed.
func lookup(app spec.App) (account, error) {
	var who account
	if app.User == "" && app.Group == "" {
		return who, nil
	}
	id := process.Identity{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
	var err error
	if app.User != "" {
		if who, id, err = lookupUser(app); err != nil {
			return account{}, err
		}
	} else {
		id.Groups = ownGroups()
	}
	if app.Group != "" {
		if id.GID, err = lookupGroup(app); err != nil {
			return account{}, err
		}
	}
	// Setting the groups needs a privilege even when nothing would change.
	if os.Geteuid() != 0 && int(id.UID) == os.Geteuid() && int(id.GID) == os.Getegid() {
		return who, nil
	}
	who.identity = &id
	return who, nil
}

// lookupUser finds the user, its primary group and its supplementary groups.
func lookupUser(app spec.App) (account, process.Identity, error) {
	var id process.Identity
	entry, err := user.Lookup(app.User)
	number, isNumber := parseID(app.User)
	if err != nil && isNumber {
		entry, err = user.LookupId(app.User)
	}
	switch {
	case err != nil && isNumber && app.Group != "":
		// A number without an entry, as containers use them: it has no other
		// groups and no home.
		return account{}, process.Identity{UID: number}, nil
	case err != nil && isNumber:
		return account{}, id, fault.New(fault.UserUnknown, "user %s has no entry in the user database, so its group is not known: %w", app.User, err).
			At(app.Name).WithFix("write group: as well")
	case err != nil:
		return account{}, id, fault.New(fault.UserUnknown, "user %q does not exist: %w", app.User, err).At(app.Name)
	}
	uid, ok1 := parseID(entry.Uid)
	gid, ok2 := parseID(entry.Gid)
	if !ok1 || !ok2 {
		return account{}, id, fault.New(fault.UserUnknown, "user %q has no numeric identity", app.User).At(app.Name)
	}
	id = process.Identity{UID: uid, GID: gid, Groups: groupsOf(entry, gid)}
	return account{name: entry.Username, home: entry.HomeDir}, id, nil
}

func lookupGroup(app spec.App) (uint32, error) {
	entry, err := user.LookupGroup(app.Group)
	if err == nil {
		if gid, ok := parseID(entry.Gid); ok {
			return gid, nil
		}
	}
	if gid, ok := parseID(app.Group); ok {
		return gid, nil
	}
	return 0, fault.New(fault.UserUnknown, "group %q does not exist: %w", app.Group, err).At(app.Name)
}

// groupsOf are the supplementary groups; the primary one where none can be read.
func groupsOf(entry *user.User, primary uint32) []uint32 {
	groups := []uint32{primary}
	texts, err := entry.GroupIds()
	if err != nil {
		return groups
	}
	for _, text := range texts {
		if gid, ok := parseID(text); ok && !slices.Contains(groups, gid) {
			groups = append(groups, gid)
		}
	}
	slices.Sort(groups)
	return groups
}

func ownGroups() []uint32 {
	own, err := os.Getgroups()
	if err != nil {
		return nil
	}
	groups := make([]uint32, 0, len(own))
	for _, gid := range own {
		groups = append(groups, uint32(gid))
	}
	return groups
}

// parseID reads a user or group number; the highest means "unchanged" to the
// kernel and is refused.
func parseID(text string) (uint32, bool) {
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err == nil && n != 1<<32-1
}
