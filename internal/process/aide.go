package process

import (
	"os"
	"syscall"
	"time"
)

// Aide is a child of a Direct's process that is no worker: the agent that a
// keeper works for. It shares this process's group and session (and so the
// terminal), stdin, stdout and stderr; it has no mark and is not in List, and
// neither dies with this process nor by KillOrphans.
type Aide struct {
	PID int

	d     *Direct
	child *child
}

// StartAide starts exe, whatever file has its name now, with the Argv, Env, Dir
// ("": this process's), Files and Listen of a command, whose other fields are
// not used. It returns once exe runs; errors are those of Start. Wait must be
// called. A script is no program here.
func (d *Direct) StartAide(exe *os.File, c Command) (*Aide, error) {
	c = Command{ID: c.ID, Argv: c.Argv, Env: c.Env, Dir: c.Dir, Files: c.Files, Listen: c.Listen}
	// Not on the thread for workers: an aide may outlive this process.
	ch, err := spawn(c, birth{stdio: [3]*os.File{os.Stdin, os.Stdout, os.Stderr}, exe: exe})
	if err != nil {
		return nil, err
	}
	a := &Aide{PID: ch.pid, d: d, child: ch}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.aides[a] = true
	return a, nil
}

// Wait blocks until the aide has ended, and reaps it. It is called once.
func (a *Aide) Wait() Exit {
	end, _ := a.child.wait(true)
	a.d.mu.Lock()
	delete(a.d.aides, a)
	a.d.mu.Unlock()
	a.child.pidfd.Close()
	return Exit{PID: a.PID, Code: end.code, Signal: end.signal, Core: end.core, Time: time.Now(), CPU: end.cpu}
}

// Signal sends a signal to the aide. The error is syscall.ESRCH (errors.Is) once
// it has ended.
func (a *Aide) Signal(sig syscall.Signal) error { return sendSignal(a.child.pidfd, sig) }
