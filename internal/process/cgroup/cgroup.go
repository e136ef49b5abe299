package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Capabilities say what this machine lets a Direct do.
type Capabilities struct {
	// Cgroup: each process that asks gets a cgroup of its own.
	Cgroup bool
	// CgroupKill: the kernel ends a cgroup at once (Linux 5.14).
	CgroupKill bool
	// CPU and Memory: these controllers can be used in it.
	CPU, Memory bool
	// CgroupError says why Cgroup is false; nil with NoCgroup.
	CgroupError error
}

// cpuPeriod is the period of cpu.max, in microseconds.
const cpuPeriod = 100_000

// Tree is the agent's part of the cgroup v2 tree. The zero value has none.
type Tree struct {
	dir string // "": not available
	cap Capabilities
}

// Open makes the agent's own part, name, of the tree below root ("": the agent's
// own cgroup, found through /proc/self/mountinfo). It never fails: what is
// not possible is not among the capabilities.
func Open(root, name string) *Tree {
	var err error
	if root == "" {
		root, err = find()
	}
	if err == nil && missing(root+"/cgroup.procs") {
		err = fmt.Errorf("%s is no cgroup v2", root)
	}
	if err != nil {
		return &Tree{cap: Capabilities{CgroupError: err}}
	}
	top := filepath.Join(root, "muster")
	dir := filepath.Join(top, Name(name))
	if !missing(dir) {
		_ = Remove(dir) // what is empty: an agent of this name was killed
	}
	err = os.MkdirAll(dir, 0o755)
	for range 3 {
		if err == nil {
			break
		}
		err = os.MkdirAll(dir, 0o755) // the last of other agents has removed top
	}
	if err != nil {
		return &Tree{cap: Capabilities{CgroupError: err}}
	}
	for _, d := range []string{root, top, dir} {
		// Each by itself: one that is missing must not refuse the other.
		_ = write(d+"/cgroup.subtree_control", "+cpu")
		_ = write(d+"/cgroup.subtree_control", "+memory")
	}
	g := &Tree{dir: dir}
	g.cap = Capabilities{Cgroup: true, CgroupKill: !missing(dir + "/cgroup.kill")}
	g.cap.CPU, g.cap.Memory = g.controls("cpu"), g.controls("memory")
	return g
}

// Capabilities of the tree.
func (g *Tree) Capabilities() Capabilities { return g.cap }

// controls says that the children of dir have a controller.
func (g *Tree) controls(name string) bool {
	text, _ := os.ReadFile(g.dir + "/cgroup.subtree_control")
	for _, have := range bytes.Fields(text) {
		if string(have) == name {
			return true
		}
	}
	return false
}

// Make returns a new directory for a process, "" when there can be none. cpu is
// its limit in cores, where the controller can be used; 0: none.
func (g *Tree) Make(id string, cpu float64) string {
	if g.dir == "" {
		return ""
	}
	dir := filepath.Join(g.dir, Name(id))
	err := os.Mkdir(dir, 0o755)
	switch {
	case errors.Is(err, os.ErrNotExist): // another agent of this name has cleared up
		err = os.MkdirAll(dir, 0o755)
	case errors.Is(err, os.ErrExist):
		// Left by an earlier process of this ID; it must not share its end.
		if Remove(dir) == nil {
			err = os.Mkdir(dir, 0o755)
		}
	}
	if err != nil {
		return ""
	}
	if cpu > 0 && g.cap.CPU {
		quota := max(int64(cpu*cpuPeriod), 1000)
		_ = write(dir+"/cpu.max", fmt.Sprintf("%d %d", quota, cpuPeriod))
	}
	return dir
}

// Close removes what is empty.
func (g *Tree) Close() {
	if g.dir != "" {
		_ = Remove(g.dir)
		_ = os.Remove(filepath.Dir(g.dir)) // when this was the last agent
	}
}

// Remove removes a cgroup and those inside it, as far as they are empty.
func Remove(dir string) error {
	if dir == "" {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			_ = Remove(filepath.Join(dir, e.Name()))
		}
	}
	// A process that has just been reaped is counted for a moment longer.
	for wait := time.Millisecond; ; wait *= 2 {
		err := unix.Rmdir(dir)
		if !errors.Is(err, syscall.EBUSY) || Populated(dir) || wait > 30*time.Millisecond {
			return err
		}
		time.Sleep(wait)
	}
}

// Populated says that a process lives in the cgroup or inside it.
func Populated(dir string) bool {
	if dir == "" {
		return false
	}
	text, err := os.ReadFile(dir + "/cgroup.events")
	return err == nil && bytes.Contains(text, []byte("populated 1"))
}

// find returns the directory of this process's own cgroup v2, wherever
// the hierarchy is mounted.
func find() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	return directory(string(mounts), string(own))
}

// directory reads proc_pid_mountinfo(5) and cgroups(7).
func directory(mounts, own string) (string, error) {
	path, found := "", false
	for line := range strings.Lines(own) {
		if p, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
			path, found = p, true
		}
	}
	if !found {
		return "", errors.New("this process is in no cgroup v2")
	}
	for line := range strings.Lines(mounts) {
		before, after, _ := strings.Cut(line, " - ")
		fields := strings.Fields(before)
		if len(fields) < 5 || !strings.HasPrefix(after, "cgroup2 ") {
			continue
		}
		// A mount may show a part of the tree only; fields[3] says which.
		inside, err := filepath.Rel(unescapeMount(fields[3]), path)
		if err == nil && inside != ".." && !strings.HasPrefix(inside, "../") {
			return filepath.Join(unescapeMount(fields[4]), inside), nil
		}
	}
	return "", errors.New("cgroup v2 is not mounted")
}

// unescapeMount undoes the octal escapes of mountinfo.
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// Name makes any text a directory name that no cgroup file has; different
// texts stay different.
func Name(s string) string {
	var b strings.Builder
	b.WriteString("p-")
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '#', c == '@':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	return b.String()
}

// Kill ends every process of a cgroup, where the kernel can (Linux 5.14).
func Kill(dir string) error { return write(dir+"/cgroup.kill", "1") }

// Join moves this process into a cgroup.
func Join(dir string) error { return write(dir+"/cgroup.procs", "0") }

// Pids lists the processes of a cgroup and of those inside it.
func Pids(dir string) []int {
	if dir == "" {
		return nil
	}
	var pids []int
	_ = filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return nil //nolint:nilerr // a cgroup that vanishes has no processes
		}
		text, _ := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		for line := range strings.Lines(string(text)) {
			if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids
}

func missing(path string) bool {
	_, err := os.Stat(path)
	return err != nil
}

// write writes to a control file, which must be there.
func write(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
