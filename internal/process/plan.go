package process

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
)

// plan is what the exec step does. Lists are joined by zero bytes, because a
// JSON string would change bytes that are not UTF-8.
type plan struct {
	ID             string
	Argv, Env, Dir []byte
	// Listen: set LISTEN_PID.
	Listen     bool      `json:",omitempty"`
	Cgroup     []byte    `json:",omitempty"` // directory to join
	Identity   *Identity `json:",omitempty"`
	Umask      *uint32   `json:",omitempty"`
	NoFile     uint64    `json:",omitempty"`
	Core       *uint64   `json:",omitempty"`
	Nice       *int      `json:",omitempty"`
	OOMScore   *int      `json:",omitempty"`
	NoNewPrivs bool      `json:",omitempty"`
}

// stage is the part of the step that failed.
type stage string

const (
	stagePlan     stage = "plan"
	stageCgroup   stage = "cgroup"
	stageNoFile   stage = "limits.nofile"
	stageCore     stage = "limits.core"
	stageNice     stage = "limits.nice"
	stageOOM      stage = "limits.oom_score"
	stagePrivs    stage = "limits.no_new_privs"
	stageIdentity stage = "user"
	stageDir      stage = "dir"
	stageFind     stage = "find"        // the program is not there
	stageExec     stage = "exec"        // it is, and exec refuses it
	stageInterp   stage = "interpreter" // it is, but what it needs to run is not
)

// report is what the step writes when something fails. Without Fatal it went on.
type report struct {
	Stage  stage
	Errno  syscall.Errno
	Detail string
	Fatal  bool
}

// newPlan checks a command and translates it.
func newPlan(c Command, cgroup string) (*plan, error) {
	if len(c.Argv) == 0 || c.Argv[0] == "" {
		return nil, fault.New(fault.CommandNotFound, "the command is empty: %w", syscall.ENOENT)
	}
	if c.Listen < 0 || c.Listen > len(c.Files) || len(c.Meta) > MetaMax {
		return nil, fault.New(fault.Internal, "process %s: Listen or Meta out of range: %w", c.ID, syscall.EINVAL)
	}
	env := environment(c)
	for _, s := range append(append([]string{c.Dir}, c.Argv...), env...) {
		if strings.IndexByte(s, 0) >= 0 {
			return nil, fault.New(fault.StartFailed, "a zero byte in the command, dir or environment: %w", syscall.EINVAL)
		}
	}
	p := &plan{
		ID: c.ID, Argv: joinZero(c.Argv), Env: joinZero(env), Dir: []byte(c.Dir), Listen: c.Listen > 0,
		Cgroup: []byte(cgroup), Identity: c.Identity, NoFile: c.Limits.NoFile,
		Nice: c.Limits.Nice, OOMScore: c.Limits.OOMScore, NoNewPrivs: c.Limits.NoNewPrivs,
	}
	if c.Umask != nil {
		mask := uint32(*c.Umask)
		p.Umask = &mask
	}
	if c.Limits.Core != nil {
		size := uint64(*c.Limits.Core)
		p.Core = &size
	}
	return p, nil
}

// environment is the command's own, with LISTEN_* as they are meant for this
// process. LISTEN_PID and the mark need its pid: the step adds them.
func environment(c Command) []string {
	env := make([]string, 0, len(c.Env)+4)
	for _, kv := range c.Env {
		switch name, _, _ := strings.Cut(kv, "="); name {
		case "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID", MarkEnv:
		default:
			env = append(env, kv)
		}
	}
	if c.Listen == 0 {
		return env
	}
	names := make([]string, c.Listen)
	for i := range names {
		names[i] = c.Files[i].Name
	}
	return append(env, "LISTEN_FDS="+strconv.Itoa(c.Listen), "LISTEN_FDNAMES="+strings.Join(names, ":"))
}

func joinZero(list []string) []byte { return []byte(strings.Join(list, "\x00")) }

func splitZero(b []byte) []string {
	if len(b) == 0 {
		return nil
	}
	parts := bytes.Split(b, []byte{0})
	list := make([]string, len(parts))
	for i, p := range parts {
		list[i] = string(p)
	}
	return list
}

// file puts the plan where the step reads it: in memory, so that its size has
// no limit and nobody has to write while the step reads.
func (p *plan) file() (*os.File, error) {
	text, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("muster-plan", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "plan")
	if _, err := f.WriteAt(text, 0); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// startFault is the fault for a report of the step.
func startFault(c Command, r report) *fault.Fault {
	name, err := c.Argv[0], error(r.Errno)
	switch r.Stage {
	case stageFind:
		if r.Errno == syscall.EACCES {
			return fault.New(fault.CommandDenied, "%s: no permission to execute it: %w", name, err)
		}
		return fault.New(fault.CommandNotFound, "%s: %s: %w", name, r.Detail, err)
	case stageInterp:
		return fault.New(fault.CommandDenied, "%s exists, but %s: %w", name, r.Detail, err)
	case stageExec:
		return execFault(name, r)
	case stageDir:
		return dirFault(c.Dir, r)
	default:
		return stageFault(r)
	}
}

func execFault(name string, r report) *fault.Fault {
	switch r.Errno {
	case syscall.EACCES, syscall.EPERM:
		return fault.New(fault.CommandDenied, "%s: no permission to execute it: %w", name, error(r.Errno))
	case syscall.ENOEXEC:
		return fault.New(fault.CommandDenied,
			"%s is no program for this machine (a script needs a #! line): %w", name, error(r.Errno))
	case syscall.ENOENT, syscall.ENOTDIR:
		return fault.New(fault.CommandNotFound, "%s: %w", name, error(r.Errno))
	default:
		return fault.New(fault.StartFailed, "cannot execute %s: %w", name, error(r.Errno))
	}
}

func dirFault(dir string, r report) *fault.Fault {
	switch r.Errno {
	case syscall.ENOENT:
		return fault.New(fault.DirMissing, "the working directory %s does not exist: %w", dir, error(r.Errno))
	case syscall.ENOTDIR:
		return fault.New(fault.DirMissing, "the working directory %s is no directory: %w", dir, error(r.Errno))
	case syscall.EACCES, syscall.EPERM:
		return fault.New(fault.Permission, "cannot enter the working directory %s: %w", dir, error(r.Errno))
	default:
		return fault.New(fault.StartFailed, "cannot enter the working directory %s: %w", dir, error(r.Errno))
	}
}

func stageFault(r report) *fault.Fault {
	text := string(r.Stage)
	if r.Detail != "" {
		text += " " + r.Detail
	}
	if r.Errno == syscall.EPERM || r.Errno == syscall.EACCES {
		return fault.New(fault.Permission, "cannot set %s: %w", text, error(r.Errno))
	}
	return fault.New(fault.StartFailed, "cannot set %s: %w", text, error(r.Errno))
}

// reports decodes what came over the step's pipe: the fatal one, or nil, and
// the notes before it. A torn line is a step that was killed.
func reports(text []byte) (fatal *report, notes []report) {
	for line := range bytes.Lines(text) {
		var r report
		if err := json.Unmarshal(line, &r); err != nil {
			return &report{Stage: stagePlan, Errno: syscall.EIO, Detail: fmt.Sprintf("(%q)", line), Fatal: true}, notes
		}
		if r.Fatal {
			return &r, notes
		}
		notes = append(notes, r)
	}
	return nil, notes
}

// errnoOf finds the system's error number; EIO when there is none.
func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return syscall.EIO
}
