package boot

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/agent"
	"github.com/muster-run/muster/internal/process"
)

// systemd is the one that a unit is written for.
type systemd struct {
	user    bool
	environ []string
}

// up says that it runs, and is not only installed.
func (d systemd) up() bool {
	place := "/run/systemd/system"
	if d.user {
		place = filepath.Join(agent.Variable(d.environ, "XDG_RUNTIME_DIR"), "systemd", "private")
	}
	_, err := os.Stat(place)
	return err == nil
}

// dir is where its units are written.
func (d systemd) dir() (string, error) {
	if !d.user {
		return "/etc/systemd/system", nil
	}
	if xdg := agent.Variable(d.environ, "XDG_CONFIG_HOME"); filepath.IsAbs(xdg) {
		return filepath.Join(xdg, "systemd", "user"), nil
	}
	if home := agent.Variable(d.environ, "HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".config", "systemd", "user"), nil
	}
	return "", fault.New(fault.Startup, "HOME is not set, so the directory of the user's units is not known").WithFix("set HOME")
}

// control runs systemctl. A code other than 0 is a fault with its words.
func (d systemd) control(ctx context.Context, args ...string) error {
	argv := []string{"systemctl"}
	if d.user {
		argv = append(argv, "--user")
	}
	argv = append(argv, args...)
	r, err := process.Run(ctx, process.Command{ID: "systemctl", Argv: argv, Env: d.environ, Dir: "/"})
	if err != nil {
		return err
	}
	if r.Exit.Code == 0 {
		return nil
	}
	f := fault.New(fault.Startup, "`%s` ended with code %d", strings.Join(argv, " "), r.Exit.Code)
	f.Output = strings.Split(strings.TrimSpace(string(bytes.ToValidUTF8(r.Output, []byte("?")))), "\n")
	return f
}

// check refuses a host that has no systemd at all.
func (d systemd) check() error {
	if _, err := exec.LookPath("systemctl"); err == nil {
		return nil
	}
	return fault.New(fault.Startup, "there is no systemd here (no systemctl in PATH)").
		WithFix("let this host's own init start `muster up --resume -c FILE`, or at boot once `muster up --saved`")
}

// program is the path of muster for the unit: the one that PATH finds, where that
// is this binary, since a package or a symlink keeps it up to date.
func program() (string, error) {
	own, err := os.Executable()
	if err != nil {
		return "", fault.New(fault.Startup, "the path of this program is not known: %w", err)
	}
	found, err := exec.LookPath("muster")
	if err != nil || !filepath.IsAbs(found) {
		return own, nil
	}
	a, errA := os.Stat(own)
	b, errB := os.Stat(found)
	if errA == nil && errB == nil && os.SameFile(a, b) {
		return found, nil
	}
	return own, nil
}
