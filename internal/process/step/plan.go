package step

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Plan is what the exec step does. Lists are joined by zero bytes, because a
// JSON string would change bytes that are not UTF-8.
type Plan struct {
	Argv, Env, Dir []byte
	// Mark is a variable that is set to what it begins with and the pid; none: "".
	Mark []byte `json:",omitempty"`
	// Parent is who must not die before the process: it is killed then, too. 0:
	// nobody.
	Parent int `json:",omitempty"`
	// Exe: the program is the descriptor after the pipe for reports, whatever file
	// has its name now.
	Exe bool `json:",omitempty"`
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

// Identity is the user a process runs as.
type Identity struct {
	UID, GID uint32
	Groups   []uint32
}

// Stage is the part of the step that failed.
type Stage string

// The stages.
const (
	StagePlan     Stage = "plan"
	StageCgroup   Stage = "cgroup"
	StageNoFile   Stage = "limits.nofile"
	StageCore     Stage = "limits.core"
	StageNice     Stage = "limits.nice"
	StageOOM      Stage = "limits.oom_score"
	StagePrivs    Stage = "limits.no_new_privs"
	StageIdentity Stage = "user"
	StageParent   Stage = "the end with muster"
	StageDir      Stage = "dir"
	StageFind     Stage = "find"        // the program is not there
	StageExec     Stage = "exec"        // it is, and exec refuses it
	StageInterp   Stage = "interpreter" // it is, but what it needs to run is not
)

// Report is what the step writes when something fails. Without Fatal it went on.
type Report struct {
	Stage  Stage
	Errno  syscall.Errno
	Detail string
	Fatal  bool
}

// Join makes a list of the plan.
func Join(list []string) []byte { return []byte(strings.Join(list, "\x00")) }

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

// File puts the plan where the step reads it: in memory, so that its size has
// no limit and nobody has to write while the step reads.
func (p *Plan) File() (*os.File, error) {
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

// Reports decodes what came over the step's pipe: the fatal one, or nil, and
// the notes before it. A torn line is a step that was killed.
func Reports(text []byte) (fatal *Report, notes []Report) {
	for line := range bytes.Lines(text) {
		var r Report
		if err := json.Unmarshal(line, &r); err != nil {
			return &Report{Stage: StagePlan, Errno: syscall.EIO, Detail: fmt.Sprintf("(%q)", line), Fatal: true}, notes
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
