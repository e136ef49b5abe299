package cpus

import (
	"io/fs"
	"math"
	"os"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// Available is how many CPUs this process can keep busy, at least 1. It reads
// /proc and the files of the control group at each call.
func Available() int { return available(os.DirFS("/"), runtime.NumCPU()) }

// available is the smaller one of n and the quota, rounded up: half a CPU is one
// worker, one and a half are two.
func available(root fs.FS, n int) int {
	quota := math.Inf(1)
	for _, g := range groups(root) {
		quota = min(quota, g.quota(root))
	}
	if quota >= float64(n) {
		return max(n, 1)
	}
	return max(int(math.Ceil(quota)), 1)
}

// group is the directory of one control group, relative to the root.
type group struct {
	dir     string
	unified bool // cgroup v2
}

// quota is the number of CPUs that the group may use on average, +Inf for all.
func (g group) quota(root fs.FS) float64 {
	if g.unified {
		quota, period, _ := strings.Cut(read(root, path.Join(g.dir, "cpu.max")), " ")
		return ratio(quota, period)
	}
	return ratio(read(root, path.Join(g.dir, "cpu.cfs_quota_us")), read(root, path.Join(g.dir, "cpu.cfs_period_us")))
}

// ratio is +Inf for what is no limit: "max", -1, or a file that is not there.
func ratio(quota, period string) float64 {
	q, err := strconv.ParseInt(quota, 10, 64)
	p, err2 := strconv.ParseInt(period, 10, 64)
	if err != nil || err2 != nil || q <= 0 || p <= 0 {
		return math.Inf(1)
	}
	return float64(q) / float64(p)
}

// groups are this process's group and those it lies in, as far as they can be
// seen: the limit of each holds.
func groups(root fs.FS) (all []group) {
	own, unified := ownGroup(read(root, "proc/self/cgroup"))
	if own == "" {
		return nil
	}
	point, top := mount(read(root, "proc/self/mountinfo"), unified)
	if point == "" {
		return nil
	}
	// Where the mount shows another part of the tree (a container without a
	// namespace of its own), its top is all that can be seen.
	inside, ok := strings.CutPrefix(own, strings.TrimSuffix(top, "/"))
	if !ok || !strings.HasPrefix(inside+"/", "/") {
		inside = "/"
	}
	for dir := path.Clean("/" + inside); ; dir = path.Dir(dir) {
		all = append(all, group{dir: strings.TrimPrefix(path.Join(point, dir), "/"), unified: unified})
		if dir == "/" {
			return all
		}
	}
}

// ownGroup finds in /proc/self/cgroup the path of the group that the CPU
// controller counts for: that of v1 where it has one, else that of v2.
func ownGroup(text string) (own string, unified bool) {
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimRight(line, "\n"), ":", 3)
		switch {
		case len(fields) < 3:
		case slices.Contains(strings.Split(fields[1], ","), "cpu"):
			return fields[2], false
		case fields[0] == "0" && fields[1] == "":
			own, unified = fields[2], true
		}
	}
	return own, unified
}

// mount finds in /proc/self/mountinfo where the hierarchy is mounted, and which
// of its groups is the top there.
func mount(text string, unified bool) (point, top string) {
	for line := range strings.Lines(text) {
		before, after, _ := strings.Cut(line, " - ")
		at, of := strings.Fields(before), strings.Fields(after)
		if len(at) < 5 || len(of) < 3 {
			continue
		}
		if unified && of[0] == "cgroup2" || !unified && of[0] == "cgroup" && slices.Contains(strings.Split(of[2], ","), "cpu") {
			return unescape(at[4]), unescape(at[3])
		}
	}
	return "", ""
}

// unescape undoes what the kernel does to blanks and backslashes in a path.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// read is a file's text without the blanks around it, "" when it cannot be read.
func read(root fs.FS, name string) string {
	data, err := fs.ReadFile(root, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
