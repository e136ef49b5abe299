package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/muster-run/muster/fault"
)

// socketPathMax is what sun_path holds on the strictest system, with its final
// zero.
const socketPathMax = 104

// keyNameMax keeps a project's part of a socket path short.
const keyNameMax = 24

// Roots are the two directories below which each project has its own.
type Roots struct {
	// State survives a reboot: lock, logs, the agent's own log.
	State string
	// Runtime does not: control socket, notify sockets, spools.
	Runtime string
}

// Paths are the places of one project.
type Paths struct {
	// Key names the project's directories: its name and a hash of its file.
	Key string
	// State and Runtime are the project's own directories, mode 0700.
	State, Runtime string
	// Lock is held for as long as an agent runs; it contains its pid.
	Lock string
	// Socket is the control socket.
	Socket string
	// Record describes the running agent to `status --all-projects`.
	Record string
	// LogDir holds the output of the apps, Log what a background agent prints.
	LogDir, Log string
}

// FindRoots reads the environment ("K=V") for the user who runs the agent:
// MUSTER_STATE_DIR, else /var/lib/muster for root and $XDG_STATE_HOME/muster or
// ~/.local/state/muster for others; MUSTER_RUNTIME_DIR, else /run/muster for
// root, $XDG_RUNTIME_DIR/muster, or /tmp/muster-UID. Nothing is created.
func FindRoots(environ []string) Roots {
	uid := os.Getuid()
	roots := Roots{State: Variable(environ, "MUSTER_STATE_DIR"), Runtime: Variable(environ, "MUSTER_RUNTIME_DIR")}
	if roots.State == "" {
		roots.State = defaultState(environ, uid)
	}
	if roots.Runtime == "" {
		roots.Runtime = defaultRuntime(environ, uid)
	}
	return Roots{State: absolute(roots.State), Runtime: absolute(roots.Runtime)}
}

func defaultState(environ []string, uid int) string {
	if xdg := Variable(environ, "XDG_STATE_HOME"); filepath.IsAbs(xdg) {
		return filepath.Join(xdg, "muster")
	}
	if uid == 0 {
		return "/var/lib/muster"
	}
	if home := Variable(environ, "HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local/state/muster")
	}
	return filepath.Join(os.TempDir(), "muster-state-"+strconv.Itoa(uid))
}

func defaultRuntime(environ []string, uid int) string {
	if xdg := Variable(environ, "XDG_RUNTIME_DIR"); filepath.IsAbs(xdg) {
		return filepath.Join(xdg, "muster")
	}
	if uid == 0 {
		return "/run/muster"
	}
	return "/tmp/muster-" + strconv.Itoa(uid)
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// Variable is the last value of a variable in an environment, "" without one.
func Variable(environ []string, name string) string {
	for i := len(environ) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(environ[i], name+"="); ok {
			return v
		}
	}
	return ""
}

// Project gives the places of a project. origin is the absolute path of its
// file, or of the directory `muster run` was started in: it keeps two projects
// of one name apart.
func (r Roots) Project(name, origin string) Paths {
	return r.Key(projectKey(name, origin))
}

func projectKey(name, origin string) string {
	sum := sha256.Sum256([]byte(name + "\x00" + origin))
	if len(name) > keyNameMax {
		name = name[:keyNameMax]
	}
	return name + "-" + hex.EncodeToString(sum[:4])
}

// Key gives the places of the project with that key.
func (r Roots) Key(key string) Paths {
	state, runtime := filepath.Join(r.State, key), filepath.Join(r.Runtime, key)
	return Paths{
		Key: key, State: state, Runtime: runtime,
		Lock:   filepath.Join(state, "lock"),
		Socket: filepath.Join(runtime, "control.sock"),
		Record: filepath.Join(runtime, "agent.json"),
		LogDir: filepath.Join(state, "logs"),
		Log:    filepath.Join(state, "agent.log"),
	}
}

// Prepare creates the project's directories where they are missing and checks
// that they, and the roots above them, belong to this user. Faults: E-STATE-DIR,
// E-SOCKET-PATH.
func (p Paths) Prepare() error {
	if len(p.Socket)+1 > socketPathMax {
		return fault.New(fault.SocketPath, "the path of the control socket has %d bytes, the kernel allows %d: %s",
			len(p.Socket), socketPathMax-1, p.Socket).
			WithFix("set MUSTER_RUNTIME_DIR to a shorter directory")
	}
	for _, dir := range []string{filepath.Dir(p.State), filepath.Dir(p.Runtime), p.State, p.Runtime, p.LogDir} {
		if err := prepareDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// prepareDir creates a directory with mode 0700. One that exists must be a real
// directory of ours: in /tmp anybody could have made it first.
func prepareDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fault.New(fault.StateDir, "cannot create %s: %w", dir, err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fault.New(fault.StateDir, "cannot use %s: %w", dir, err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if ok && int(stat.Uid) != os.Getuid() {
		return fault.New(fault.StateDir, "%s belongs to uid %d, and this is uid %d", dir, stat.Uid, os.Getuid())
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fault.New(fault.StateDir, "%s may be written by others (mode %04o)", dir, info.Mode().Perm()).
			WithFix("chmod 0700 " + dir)
	}
	if err := syscall.Access(dir, 2); err != nil {
		return fault.New(fault.StateDir, "cannot write in %s: %w", dir, err)
	}
	return nil
}

// OpenTo lets other users pass through the runtime directories (0711), without
// listing them: workers of another user need their notify socket, a group the
// control socket. The sockets themselves keep their own modes.
func (p Paths) OpenTo(others bool) error {
	if !others {
		return nil
	}
	for _, dir := range []string{filepath.Dir(p.Runtime), p.Runtime} {
		if err := os.Chmod(dir, 0o711); err != nil {
			return fault.New(fault.StateDir, "cannot open %s to other users: %w", dir, err)
		}
	}
	return nil
}
