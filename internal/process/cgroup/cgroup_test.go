package cgroup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCgroupDir(t *testing.T) {
	hybrid := `24 30 0:22 / /sys rw,nosuid shared:7 - sysfs sysfs rw
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`
	pure := "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
	part := `29 23 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw
30 23 0:26 /other /mnt/with\040space rw - cgroup2 cgroup rw
`
	for _, tc := range []struct{ mounts, own, want string }{
		{hybrid, "9:cpu:/x\n0::/\n", "/sys/fs/cgroup/unified"},
		{hybrid, "0::/user.slice/s.scope\n", "/sys/fs/cgroup/unified/user.slice/s.scope"},
		{pure, "0::/system.slice/muster.service\n", "/sys/fs/cgroup/system.slice/muster.service"},
		{part, "0::/docker/abc/inner\n", "/sys/fs/cgroup/inner"},
		{part, "0::/other/x\n", "/mnt/with space/x"},
		{part, "0::/elsewhere\n", ""},
		{pure, "4:memory:/x\n", ""},
		{"", "0::/\n", ""},
	} {
		got, err := directory(tc.mounts, tc.own)
		if got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%q: %q, %v; not %q", tc.own, got, err, tc.want)
		}
	}
}

func TestCgroupName(t *testing.T) {
	seen := map[string]string{}
	for _, id := range []string{"web#0", "web/0", "web_2f0", "../x", "cgroup.procs", "", ".", "a b", "ü"} {
		name := Name(id)
		if other, twice := seen[name]; twice || name != filepath.Base(name) || strings.HasPrefix(name, "cgroup.") {
			t.Errorf("%q is %q (also %q)", id, name, other)
		}
		seen[name] = id
	}
}

func TestNoCgroup(t *testing.T) {
	var none Tree
	if dir := none.Make("a", 1); dir != "" || none.Capabilities() != (Capabilities{}) {
		t.Errorf("%q %+v", dir, none)
	}
	none.Close()
	root := t.TempDir()
	g := Open(root, "p")
	if g.dir != "" || g.cap.Cgroup || g.cap.CgroupError == nil {
		t.Errorf("%+v", g)
	}
	if entries, err := os.ReadDir(root); err != nil || len(entries) != 0 {
		t.Errorf("left %v, %v", entries, err)
	}
	if dir := g.Make("a", 0); dir != "" {
		t.Errorf("%q", dir)
	}
}

// A tree that looks like one whose cpu controller can be used.
func TestCgroupCPU(t *testing.T) {
	root := t.TempDir()
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(root+"/cgroup.procs", "")
	g := Open(root, "p")
	if !g.cap.Cgroup || g.cap.CPU || g.cap.CgroupKill {
		t.Errorf("%+v", g.cap)
	}
	write(g.dir+"/cgroup.subtree_control", "memory cpu\n")
	if !g.controls("cpu") || g.controls("io") {
		t.Error("controllers are not read")
	}
	g.cap.CPU = true
	if err := os.MkdirAll(g.dir+"/"+Name("a"), 0o700); err != nil { // its removal and making are the kernel's part
		t.Fatal(err)
	}
	if dir := g.Make("a", 0.5); dir != filepath.Join(root, "muster", "p-p", "p-a") {
		t.Errorf("%q", dir)
	}
}
