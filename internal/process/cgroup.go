package process

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

// cgroups is the agent's part of the cgroup v2 tree. The zero value has none.
type cgroups struct {
	dir string // "": not available
	cap Capabilities
}

// openCgroups makes the agent's own part of the tree. It never fails: what is
// not possible is not among the capabilities.
func openCgroups(o Options) *cgroups {
	if o.NoCgroup {
		return &cgroups{}
	}
	root, err := o.CgroupRoot, error(nil)
	if root == "" {
		root, err = findCgroup()
	}
	if err == nil && exists(root+"/cgroup.procs") != nil {
		err = fmt.Errorf("%s is no cgroup v2", root)
	}
	if err != nil {
		return &cgroups{cap: Capabilities{CgroupError: err}}
	}
	name := o.Project
	if name == "" {
		name = strconv.Itoa(os.Getpid())
	}
	top := filepath.Join(root, "muster")
	dir := filepath.Join(top, cgroupName(name))
	err = os.MkdirAll(dir, 0o755)
	for range 3 {
		if err == nil {
			break
		}
		err = os.MkdirAll(dir, 0o755) // the last of other agents has removed top
	}
	if err != nil {
		return &cgroups{cap: Capabilities{CgroupError: err}}
	}
	for _, d := range []string{root, top, dir} {
		// Each by itself: one that is missing must not refuse the other.
		_ = writeFile(d+"/cgroup.subtree_control", "+cpu")
		_ = writeFile(d+"/cgroup.subtree_control", "+memory")
	}
	g := &cgroups{dir: dir}
	g.cap = Capabilities{Cgroup: true, CgroupKill: exists(dir+"/cgroup.kill") == nil}
	g.cap.CPU, g.cap.Memory = g.controls("cpu"), g.controls("memory")
	return g
}

// controls says that the children of dir have a controller.
func (g *cgroups) controls(name string) bool {
	text, _ := os.ReadFile(g.dir + "/cgroup.subtree_control")
	for _, have := range bytes.Fields(text) {
		if string(have) == name {
			return true
		}
	}
	return false
}

// make returns a new directory for a process, "" when there can be none.
func (g *cgroups) make(c Command) string {
	if g.dir == "" || !c.Cgroup && c.Limits.CPU <= 0 {
		return ""
	}
	dir := filepath.Join(g.dir, cgroupName(c.ID))
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, os.ErrExist) {
		// Left by an earlier process of this ID; it must not share its end.
		if removeCgroup(dir) == nil {
			err = os.Mkdir(dir, 0o755)
		}
	}
	if err != nil {
		return ""
	}
	if c.Limits.CPU > 0 && g.cap.CPU {
		quota := max(int64(c.Limits.CPU*cpuPeriod), 1000)
		_ = writeFile(dir+"/cpu.max", fmt.Sprintf("%d %d", quota, cpuPeriod))
	}
	return dir
}

// close removes what is empty.
func (g *cgroups) close() {
	if g.dir != "" {
		_ = removeCgroup(g.dir)
		_ = os.Remove(filepath.Dir(g.dir)) // when this was the last agent
	}
}

// removeCgroup removes a cgroup and those inside it, as far as they are empty.
func removeCgroup(dir string) error {
	if dir == "" {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			_ = removeCgroup(filepath.Join(dir, e.Name()))
		}
	}
	// A process that has just been reaped is counted for a moment longer.
	for wait := time.Millisecond; ; wait *= 2 {
		err := unix.Rmdir(dir)
		if !errors.Is(err, syscall.EBUSY) || cgroupPopulated(dir) || wait > 30*time.Millisecond {
			return err
		}
		time.Sleep(wait)
	}
}

// cgroupPopulated says that a process lives in the cgroup or inside it.
func cgroupPopulated(dir string) bool {
	if dir == "" {
		return false
	}
	text, err := readSmall(dir+"/cgroup.events", make([]byte, 128))
	return err == nil && bytes.Contains(text, []byte("populated 1"))
}

// findCgroup returns the directory of this process's own cgroup v2, wherever
// the hierarchy is mounted.
func findCgroup() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	return cgroupDir(string(mounts), string(own))
}

// cgroupDir reads proc_pid_mountinfo(5) and cgroups(7).
func cgroupDir(mounts, own string) (string, error) {
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

// cgroupName makes any text a directory name that no cgroup file has; different
// texts stay different.
func cgroupName(s string) string {
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
