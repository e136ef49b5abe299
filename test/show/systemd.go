package show

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/test/rig"
)

// Package builds the Debian package twice: the bytes are the same.
func Package(t *testing.T) string {
	first, again := deb(t, "1.0.0"), deb(t, "1.0.0")
	a, errA := os.ReadFile(first)
	b, errB := os.ReadFile(again)
	if errA != nil || errB != nil || sha256.Sum256(a) != sha256.Sum256(b) {
		t.Errorf("two builds differ (%v, %v)", errA, errB)
	}
	out, err := exec.Command("dpkg-deb", "--info", first).CombinedOutput()
	if err != nil || strings.Contains(string(out), "conffiles") {
		t.Errorf("%v: %s", err, out)
	}
	return fmt.Sprintf("%.1f MB, twice the same bytes", float64(len(a))/1e6)
}

// deb builds a package and returns its path.
func deb(t *testing.T, version string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(rig.Root(), "scripts", "deb.sh"))
	cmd.Env = append(os.Environ(), "VERSION="+version, "OUT="+t.TempDir())
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("deb.sh: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// box is a machine with a real systemd (scripts/systemd-box.sh).
type box struct {
	t      *testing.T
	dir    string
	holder int
	boot   *exec.Cmd
	pid1   int
	ended  chan error
}

func newBox(t *testing.T) *box {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "box") // mount reads a comma as the end
	if err != nil {
		t.Fatal(err)
	}
	b := &box{t: t, dir: dir}
	hold := exec.Command(filepath.Join(rig.Root(), "scripts", "systemd-box.sh"), "hold", b.dir)
	hold.Stderr = os.Stderr
	if err := hold.Start(); err != nil {
		t.Fatal(err)
	}
	b.holder = hold.Process.Pid
	t.Cleanup(func() {
		_ = hold.Process.Kill()
		_ = hold.Wait()
		os.Remove(dir)
	})
	rig.Until(t, 10*time.Second, "the disk of the box is there", func() bool { return exists(b.host("held")) })
	return b
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// host is the path of a file in the box's directory, as its holder sees it.
func (b *box) host(name string) string {
	return filepath.Join("/proc", strconv.Itoa(b.holder), "root", b.dir, name)
}

// start boots the box and waits until it is up.
func (b *box) start() {
	b.t.Helper()
	b.boot = exec.Command(filepath.Join(rig.Root(), "scripts", "systemd-box.sh"), "boot", b.dir, strconv.Itoa(b.holder))
	log, err := os.Create(filepath.Join(b.t.TempDir(), "boot.log"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.boot.Stdout, b.boot.Stderr = log, log
	if err := b.boot.Start(); err != nil {
		b.t.Fatal(err)
	}
	ended := make(chan error, 1)
	b.ended = ended
	go func(cmd *exec.Cmd) { ended <- cmd.Wait(); log.Close() }(b.boot) // ends with the box
	b.t.Cleanup(b.kill)
	rig.Until(b.t, 20*time.Second, "systemd is PID 1", b.findPID1)
	rig.Until(b.t, time.Minute, "the box is up", func() bool {
		r := b.run("systemctl", "is-system-running")
		return r.Code == 0 || strings.HasPrefix(r.Stdout, "degraded")
	})
	if failed := b.run("systemctl", "--failed", "--no-legend"); failed.Stdout != "" {
		b.t.Fatalf("units have failed: %v", failed)
	}
}

func (b *box) findPID1() bool {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", b.boot.Process.Pid))
	for _, field := range strings.Fields(string(text)) {
		comm, _ := os.ReadFile("/proc/" + field + "/comm")
		if strings.TrimSpace(string(comm)) == "systemd" {
			b.pid1, _ = strconv.Atoi(field)
			return true
		}
	}
	return false
}

// kill is the power cut.
func (b *box) kill() {
	if b.pid1 != 0 {
		_ = syscall.Kill(b.pid1, syscall.SIGKILL)
		b.off()
	}
}

// off waits until the box is.
func (b *box) off() {
	b.t.Helper()
	select {
	case <-b.ended:
		b.pid1 = 0
	case <-time.After(2 * time.Minute):
		b.t.Fatal("the box does not go down")
	}
}

// run runs a program in the box, at most 2 minutes.
func (b *box) run(argv ...string) rig.Result {
	b.t.Helper()
	args := append([]string{
		"--kill-after=5", "120", "nsenter", "--target", strconv.Itoa(b.pid1), "--all", "--",
		"env", "-i", "HOME=/root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	}, argv...)
	cmd := exec.Command("timeout", args...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	began := time.Now()
	_ = cmd.Run()
	return rig.Result{Stdout: out.String(), Stderr: errs.String(), Code: cmd.ProcessState.ExitCode(), Took: time.Since(began)}
}

func (b *box) must(argv ...string) string {
	b.t.Helper()
	r := b.run(argv...)
	if r.Code != 0 {
		b.t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), r, b.run("journalctl", "-b", "-n", "60", "--no-pager").Stdout)
	}
	return strings.TrimSpace(r.Stdout)
}

// write puts a file into the box.
func (b *box) write(path, text string) {
	b.t.Helper()
	full := b.host(filepath.Join("root", path))
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(text), 0o755); err != nil {
		b.t.Fatal(err)
	}
}

// install puts a package into the box and installs it.
func (b *box) install(path string) {
	b.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		b.t.Fatal(err)
	}
	name := "/srv/" + filepath.Base(path)
	b.write(name, string(text))
	b.must("dpkg", "-i", name)
}

// property of the unit.
func (b *box) property(name string) string {
	b.t.Helper()
	return b.must("systemctl", "show", "-p", name, "--value", unitOfBox)
}

// status asks the agent of the box's project.
func (b *box) status() (st api.Status) {
	_ = json.Unmarshal([]byte(b.run("muster", "status", "-c", fileOfBox, "--json").Stdout), &st)
	return st
}

// pids of the workers of an app that are ready.
func (b *box) pids(app string) map[int]int {
	pids := map[int]int{}
	for _, a := range b.status().Apps {
		for _, w := range a.Workers {
			if a.Name == app && w.State == event.Ready {
				pids[w.Slot] = w.PID
			}
		}
	}
	return pids
}

// has waits until an app has so many ready workers.
func (b *box) has(app string, n int) {
	b.t.Helper()
	rig.Until(b.t, 30*time.Second, fmt.Sprintf("%s has %d workers", app, n), func() bool { return len(b.pids(app)) == n })
}

const (
	unitOfBox = "muster-shop.service"
	fileOfBox = "/srv/shop/muster.yaml"
)

func shopOf(workers int) string {
	return fmt.Sprintf(`version: 1
name: shop
defaults: {stop: {timeout: 20s}}
apps:
  web: {command: sleep 1000, ready: alive:100ms, workers: %d}
  api: {command: sleep 1001, ready: alive:100ms, depends_on: [web]}
`, workers)
}

// Systemd installs the package in a machine with a real systemd and goes through
// the life of a unit: start, reload, crashes, reboots, power cut, stop, removal.
func Systemd(t *testing.T) string {
	b := newBox(t)
	b.start()
	b.install(deb(t, "1.0.0"))
	b.write(fileOfBox, shopOf(2))
	began := time.Now()
	b.must("muster", "startup", "systemd", "-c", fileOfBox, "--now")
	up := time.Since(began)
	b.unitIsUp()
	b.startsOnlyOnce()
	b.reloads()
	b.crashes()
	b.reboots()
	b.stops()
	b.otherUnits()
	b.upgrades(deb(t, "1.0.1"))
	b.goes()
	return fmt.Sprintf("up in %v; reload, crashes, reboot, power cut, stop, package upgrade and purge", up.Round(time.Millisecond))
}

func (b *box) unitIsUp() {
	b.t.Helper()
	for name, want := range map[string]string{
		"ActiveState": "active", "SubState": "running", "Type": "notify", "NRestarts": "0", "UnitFileState": "enabled",
		"TimeoutStopUSec": "55s", "Delegate": "yes", "KillMode": "mixed",
	} {
		if got := b.property(name); got != want {
			b.t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	b.has("web", 2)
	b.has("api", 1)
	if r := b.run("systemd-analyze", "verify", "/etc/systemd/system/"+unitOfBox); r.Code != 0 || strings.Contains(r.Stderr, unitOfBox) {
		b.t.Errorf("systemd-analyze verify: %v", r)
	}
	procs := b.must("systemctl", "status", "--no-pager", "-n", "0", unitOfBox)
	if !strings.Contains(procs, "sleep 1000") || !strings.Contains(procs, "sleep 1001") {
		b.t.Errorf("the workers are not in the cgroup of the unit:\n%s", procs)
	}
}

// startsOnlyOnce: the same again changes nothing; a second agent is refused.
func (b *box) startsOnlyOnce() {
	b.t.Helper()
	pid := b.property("MainPID")
	r := b.run("muster", "startup", "systemd", "-c", fileOfBox, "--now")
	if r.Code != 0 || !strings.Contains(r.Stderr, "up to date") || b.property("MainPID") != pid {
		b.t.Errorf("the same again: %v", r)
	}
	if r := b.run("muster", "up", "--resume", "-c", fileOfBox); r.Code != 1 || !strings.Contains(r.Stderr, "E-AGENT-RUNNING") {
		b.t.Errorf("a second agent: %v", r)
	}
}

func (b *box) reloads() {
	b.t.Helper()
	b.write(fileOfBox, shopOf(3))
	b.must("systemctl", "reload", unitOfBox)
	b.has("web", 3)
	before := b.pids("web")
	b.write(fileOfBox, "version: 1\napps: {")
	if r := b.run("systemctl", "reload", unitOfBox); r.Code == 0 {
		b.t.Error("a reload with a file that is not valid went well")
	}
	if now := b.pids("web"); fmt.Sprint(now) != fmt.Sprint(before) || b.property("ActiveState") != "active" {
		b.t.Errorf("a failed reload changed %v to %v", before, now)
	}
	b.write(fileOfBox, shopOf(3))
	b.must("systemctl", "reload", unitOfBox)
}

// crashes of a worker, then of muster itself.
func (b *box) crashes() {
	b.t.Helper()
	old := b.pids("web")[1]
	b.must("kill", "-9", strconv.Itoa(old))
	rig.Until(b.t, 10*time.Second, "the worker is back", func() bool { pid := b.pids("web")[1]; return pid != 0 && pid != old })
	if got := b.property("NRestarts"); got != "0" {
		b.t.Errorf("systemd has restarted the unit %s times", got)
	}
	b.must("muster", "scale", "web", "5", "-c", fileOfBox)
	b.must("muster", "stop", "api", "-c", fileOfBox)
	rig.For(time.Second) // what is kept is written half a second later
	main := b.property("MainPID")
	b.must("kill", "-9", main)
	rig.Until(b.t, 30*time.Second, "systemd has started muster again", func() bool {
		pid := b.property("MainPID")
		return pid != "0" && pid != main && b.property("ActiveState") == "active"
	})
	b.asItWas()
}

// asItWas: scaled and stopped by hand.
func (b *box) asItWas() {
	b.t.Helper()
	b.has("web", 5)
	b.has("api", 0)
}

func (b *box) reboots() {
	b.t.Helper()
	b.run("systemctl", "reboot")
	b.off()
	b.start()
	rig.Until(b.t, 30*time.Second, "the unit is up after a reboot", func() bool { return b.property("ActiveState") == "active" })
	b.asItWas()
	b.kill()
	b.start()
	rig.Until(b.t, 30*time.Second, "the unit is up after a power cut", func() bool { return b.property("ActiveState") == "active" })
	b.asItWas()
	b.write(fileOfBox, "not: valid")
	b.must("systemctl", "restart", unitOfBox) // what ran last
	b.asItWas()
	b.write(fileOfBox, shopOf(4)) // a new number in the file wins
	b.must("systemctl", "restart", unitOfBox)
	b.has("web", 4)
	b.has("api", 0)
}

func (b *box) stops() {
	b.t.Helper()
	b.must("muster", "start", "api", "-c", fileOfBox)
	group := b.property("ControlGroup")
	b.must("systemctl", "stop", unitOfBox)
	if r := b.property("Result"); r != "success" {
		b.t.Errorf("systemctl stop: %s", r)
	}
	if r := b.run("cat", "/sys/fs/cgroup"+group+"/cgroup.procs"); r.Code == 0 && r.Stdout != "" {
		b.t.Errorf("left in the cgroup: %s", r.Stdout)
	}
	if r := b.run("pgrep", "-x", "sleep"); r.Code == 0 {
		b.t.Errorf("workers are left: %v", r)
	}
	b.must("systemctl", "start", unitOfBox)
	b.has("api", 1)
}

// otherUnits: what muster did not write it does not touch.
func (b *box) otherUnits() {
	b.t.Helper()
	const path = "/etc/systemd/system/mine.service"
	b.write(path, "[Service]\nExecStart=/bin/true\n")
	for _, args := range [][]string{{}, {"--remove"}} {
		r := b.run(append([]string{"muster", "startup", "systemd", "mine", "-c", fileOfBox}, args...)...)
		if r.Code != 1 || !strings.Contains(r.Stderr, "E-STARTUP") {
			b.t.Errorf("%v: %v", args, r)
		}
	}
	if text := b.must("cat", path); !strings.Contains(text, "/bin/true") {
		b.t.Errorf("the unit of somebody else was changed: %s", text)
	}
}

// upgrades of the package stop no worker; the agent is that of the new one.
func (b *box) upgrades(next string) {
	b.t.Helper()
	before, agent := b.pids("web"), b.status().AgentPID
	b.install(next)
	if now := b.status().AgentPID; now == agent || now == 0 {
		b.t.Errorf("after the upgrade of the package the agent is %d, before %d", now, agent)
	}
	if now := b.pids("web"); len(now) == 0 || fmt.Sprint(now) != fmt.Sprint(before) {
		b.t.Errorf("the upgrade of the package changed %v to %v", before, now)
	}
	if b.property("ActiveState") != "active" || b.property("NRestarts") != "0" {
		b.t.Error("the upgrade of the package touched the unit")
	}
}

// goes: the unit, then the package, then everything that it has made.
func (b *box) goes() {
	b.t.Helper()
	b.must("muster", "startup", "systemd", "-c", fileOfBox, "--remove", "--now")
	if r := b.run("systemctl", "cat", unitOfBox); r.Code == 0 {
		b.t.Errorf("the unit is still there: %v", r)
	}
	b.must("muster", "startup", "systemd", "-c", fileOfBox, "--now")
	b.must("dpkg", "-r", "muster")
	if r := b.run("pgrep", "-x", "sleep"); r.Code == 0 {
		b.t.Errorf("workers outlive the package: %v", r)
	}
	b.must("dpkg", "-P", "muster")
	left := b.run("find", "/usr/bin/muster", "/etc/systemd/system", "/var/lib/muster", "/run/muster", "/usr/share/doc/muster",
		"/etc/needrestart/conf.d/muster.conf", "-name", "*muster*")
	if left.Stdout != "" {
		b.t.Errorf("left of the package: %s", left.Stdout)
	}
}
