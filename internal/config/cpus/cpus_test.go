package cpus

import (
	"runtime"
	"testing"
	"testing/fstest"
)

const (
	mountV2 = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
	mountV1 = "30 23 0:27 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n33 23 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
)

func TestQuota(t *testing.T) {
	for name, c := range map[string]struct {
		mounts, own string
		files       map[string]string // below /sys/fs/cgroup
		want        int               // of 8
	}{
		"no files at all": {"", "", nil, 8},
		"no limit":        {mountV2, "0::/\n", map[string]string{"cpu.max": "max 100000\n"}, 8},
		"the real root":   {mountV2, "0::/\n", nil, 8},
		"two":             {mountV2, "0::/\n", map[string]string{"cpu.max": "200000 100000\n"}, 2},
		"one":             {mountV2, "0::/\n", map[string]string{"cpu.max": "100000 100000\n"}, 1},
		"a half":          {mountV2, "0::/\n", map[string]string{"cpu.max": "50000 100000\n"}, 1},
		"one and a half":  {mountV2, "0::/\n", map[string]string{"cpu.max": "150000 100000\n"}, 2},
		"other period":    {mountV2, "0::/\n", map[string]string{"cpu.max": "30000 10000\n"}, 3},
		"more than all":   {mountV2, "0::/\n", map[string]string{"cpu.max": "1600000 100000\n"}, 8},
		"nonsense":        {mountV2, "0::/\n", map[string]string{"cpu.max": "a lot\n"}, 8},
		"zero":            {mountV2, "0::/\n", map[string]string{"cpu.max": "0 0\n"}, 8},
		"systemd":         {mountV2, "0::/app.slice/web.service\n", map[string]string{"app.slice/web.service/cpu.max": "300000 100000\n"}, 3},
		"around it": {mountV2, "0::/app.slice/web.service\n", map[string]string{
			"app.slice/web.service/cpu.max": "max 100000\n", "app.slice/cpu.max": "200000 100000\n",
		}, 2},
		"a neighbour":         {mountV2, "0::/app.slice\n", map[string]string{"app/cpu.max": "100000 100000\n"}, 8},
		"outside of the view": {"29 23 0:26 /docker/1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/../x\n", map[string]string{"cpu.max": "100000 100000\n"}, 1},
		"below the view":      {"29 23 0:26 /docker/1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/docker/1/in\n", map[string]string{"in/cpu.max": "200000 100000\n"}, 2},
		"beside the view":     {"29 23 0:26 /docker/1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/docker/12\n", map[string]string{"2/cpu.max": "100000 100000\n"}, 8},
		"v1": {mountV1, "4:cpuset:/\n2:cpu,cpuacct:/docker/1\n", map[string]string{
			"cpu,cpuacct/docker/1/cpu.cfs_quota_us": "250000\n", "cpu,cpuacct/docker/1/cpu.cfs_period_us": "100000\n",
		}, 3},
		"v1 without limit": {mountV1, "2:cpu,cpuacct:/\n", map[string]string{
			"cpu,cpuacct/cpu.cfs_quota_us": "-1\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
		}, 8},
		"both, the controller in v1": {mountV2 + mountV1, "2:cpu,cpuacct:/\n0::/\n", map[string]string{
			"cpu.max": "100000 100000\n", "cpu,cpuacct/cpu.cfs_quota_us": "400000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
		}, 4},
		"both, the controller in v2": {mountV2 + mountV1, "4:cpuset:/\n0::/\n", map[string]string{"cpu.max": "100000 100000\n"}, 1},
		"blanks in a path":           {"29 23 0:26 / /sys/fs/cgroup/a\\040b rw - cgroup2 cgroup2 rw\n", "0::/\n", map[string]string{"a b/cpu.max": "100000 100000\n"}, 1},
	} {
		root := fstest.MapFS{
			"proc/self/mountinfo": {Data: []byte(c.mounts)},
			"proc/self/cgroup":    {Data: []byte(c.own)},
		}
		for file, text := range c.files {
			root["sys/fs/cgroup/"+file] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := available(root, 8); got != c.want {
			t.Errorf("%s: %d CPUs, want %d", name, got, c.want)
		}
	}
}

func TestAvailable(t *testing.T) {
	if n := Available(); n < 1 || n > runtime.NumCPU() {
		t.Errorf("%d CPUs of %d", n, runtime.NumCPU())
	}
	if n := available(fstest.MapFS{}, 0); n != 1 {
		t.Error(n)
	}
}

func FuzzQuota(f *testing.F) {
	f.Add(mountV2, "0::/a/b\n", "1 2")
	f.Add(mountV1, "2:cpu,cpuacct:/../x\n", "-1")
	f.Fuzz(func(t *testing.T, mounts, own, limit string) {
		root := fstest.MapFS{
			"proc/self/mountinfo": {Data: []byte(mounts)}, "proc/self/cgroup": {Data: []byte(own)},
			"sys/fs/cgroup/cpu.max": {Data: []byte(limit)},
		}
		if n := available(root, 4); n < 1 || n > 4 {
			t.Error(n)
		}
	})
}
