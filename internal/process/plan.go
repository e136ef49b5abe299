package process

import (
	"strconv"
	"strings"
	"syscall"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process/step"
)

// StepArg is argv[0] of the exec step.
const StepArg = step.Arg

// IsStep says that this process is an exec step: main must call RunStep first.
func IsStep() bool { return step.Is() }

// RunStep turns this process into the program it was started for. It never
// returns.
func RunStep() { step.Run() }

// newPlan checks a command and translates it.
func newPlan(c Command, cgroup string) (*step.Plan, error) {
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
	p := &step.Plan{
		Mark: []byte(MarkEnv + "=" + c.ID + ":"), Argv: step.Join(c.Argv), Env: step.Join(env), Dir: []byte(c.Dir), Listen: c.Listen > 0,
		Cgroup: []byte(cgroup), Identity: (*step.Identity)(c.Identity), NoFile: c.Limits.NoFile,
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

// startFault is the fault for a report of the step.
func startFault(c Command, r step.Report) *fault.Fault {
	name, err := c.Argv[0], error(r.Errno)
	switch r.Stage {
	case step.StageFind:
		if r.Errno == syscall.EACCES {
			return fault.New(fault.CommandDenied, "%s: no permission to execute it: %w", name, err)
		}
		return fault.New(fault.CommandNotFound, "%s: %s: %w", name, r.Detail, err)
	case step.StageInterp:
		return fault.New(fault.CommandDenied, "%s exists, but %s: %w", name, r.Detail, err)
	case step.StageExec:
		return execFault(name, r)
	case step.StageDir:
		return dirFault(c.Dir, r)
	default:
		return stageFault(r)
	}
}

func execFault(name string, r step.Report) *fault.Fault {
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

func dirFault(dir string, r step.Report) *fault.Fault {
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

func stageFault(r step.Report) *fault.Fault {
	text := string(r.Stage)
	if r.Detail != "" {
		text += " " + r.Detail
	}
	if r.Errno == syscall.EPERM || r.Errno == syscall.EACCES {
		return fault.New(fault.Permission, "cannot set %s: %w", text, error(r.Errno))
	}
	return fault.New(fault.StartFailed, "cannot set %s: %w", text, error(r.Errno))
}
