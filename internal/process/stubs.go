package process

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

var errStub = errors.New("not built yet")

// StepArg is argv[0] of the exec step.
const StepArg = "muster-exec-step"

// IsStep says that this process is an exec step: main must call RunStep first.
func IsStep() bool { return len(os.Args) > 0 && os.Args[0] == StepArg }

// RunStep becomes the program of the plan. It never returns.
func RunStep() { os.Exit(127) }

// ErrMainExited is SetMain's answer once the main process's exit was delivered;
// Direct.Resume is for callers that want the new one all the same.
var ErrMainExited = errors.New("the main process has already exited")

// ErrNotMember is SetMain's answer for a pid that did not come from the process.
var ErrNotMember = errors.New("the pid is no member of the process's group")

// ErrUnknownID is the answer for an ID that was never started, or was acknowledged.
var ErrUnknownID = errors.New("no process with this id")

// ErrNoSpool is the answer for the output of a process that was started without.
var ErrNoSpool = errors.New("the process has no spool")

// ErrOutputBusy is the answer for a second reader.
var ErrOutputBusy = errors.New("the output has a reader already")

// Options of a Direct. The zero value is usable.
type Options struct {
	// Project names the agent's part of the cgroup tree; "": the agent's pid.
	Project string
	// CgroupRoot is the cgroup v2 directory to work in; "": the agent's own,
	// found through /proc/self/mountinfo.
	CgroupRoot string
	// NoCgroup does without cgroups.
	NoCgroup bool
	// SpoolMax is how many bytes of one process's output may wait to be
	// committed before the process is held up; default 8 MiB.
	SpoolMax int64
}

// Capabilities say what this machine lets a Direct do.
type Capabilities struct {
	Cgroup      bool // a cgroup per process: events, and kill where the kernel has it
	CgroupKill  bool // cgroup.kill exists (Linux 5.14)
	CPU, Memory bool // the controllers can be used
}

// Direct is the Starter whose processes are the agent's own children.
type Direct struct{}

// NewDirect makes a Starter.
func NewDirect(o Options) (*Direct, error) { return nil, errStub }

// Capabilities of this machine.
func (d *Direct) Capabilities() Capabilities { return Capabilities{} }

// Close ends the Direct's goroutines; it ends no process.
func (d *Direct) Close() error { return nil }

// Start implements Starter.
func (d *Direct) Start(c Command) (Proc, error) { return Proc{}, errStub }

// List implements Starter.
func (d *Direct) List() []Proc { return nil }

// Exits implements Starter.
func (d *Direct) Exits() <-chan Exit { return nil }

// Ack implements Starter.
func (d *Direct) Ack(id string) {}

// SetMeta implements Starter.
func (d *Direct) SetMeta(id string, meta []byte) error { return errStub }

// SetMain implements Starter.
func (d *Direct) SetMain(id string, pid int) (Proc, error) { return Proc{}, errStub }

// Resume is SetMain for a process whose exit was already delivered (a master
// that forked itself into the background before its MAINPID message was read):
// its Exit is taken back, and the exit of the new main process is delivered as
// one more Exit with the same ID and another PID.
func (d *Direct) Resume(id string, pid int) (Proc, error) { return Proc{}, errStub }

// SetKillAt implements Starter.
func (d *Direct) SetKillAt(id string, t time.Time) error { return errStub }

// Output implements Starter.
func (d *Direct) Output(id string) (Output, error) { return nil, errStub }

// KillOrphans ends every child of this process that is not in List, and what
// they leave behind; for the very end. It returns how many it killed.
func (d *Direct) KillOrphans() (int, error) { return 0, errStub }

// Subreap makes this process the one that orphans of its workers go to.
func Subreap() error { return errStub }

// Table is one look at all processes of the machine.
type Table struct{}

// Scan looks at all processes once.
func Scan() (*Table, error) { return nil, errStub }

// Members is Proc.Members at the time of the scan.
func (t *Table) Members(p Proc) []int { return nil }

// Usage of processes.
type Usage struct {
	CPU time.Duration // user + system, of the living
	RSS int64         // bytes
	N   int           // how many are alive
}

// Usage adds up some pids at the time of the scan.
func (t *Table) Usage(pids []int) Usage { return Usage{} }

// Result of Run.
type Result struct {
	Exit Exit
	// Output is stdout and stderr as they came, the last OutputMax bytes.
	Output []byte
	// Truncated says that Output lacks its beginning.
	Truncated bool
}

// OutputMax bounds Result.Output.
const OutputMax = 64 << 10

// Run runs a short command to its end in a group of its own. When ctx ends
// first, everything in the group is killed and err is ctx's error. A program
// that cannot be started is a *fault.Fault; one that ends with another code
// than 0 is no error. Cgroup, Spool, Meta and KillAt are not used.
func Run(ctx context.Context, c Command) (Result, error) { return Result{}, errStub }

// DirectStore is a Store in this process's memory.
type DirectStore struct{}

// NewDirectStore makes an empty one.
func NewDirectStore() *DirectStore { return &DirectStore{} }

// Put implements Store.
func (s *DirectStore) Put(name string, f *os.File) error { return errStub }

// Get implements Store.
func (s *DirectStore) Get(name string) (*os.File, error) { return nil, errStub }

// Take implements Store.
func (s *DirectStore) Take(name string) (*os.File, error) { return nil, errStub }

// List implements Store.
func (s *DirectStore) List() []string { return nil }

// Close closes what it holds.
func (s *DirectStore) Close() error { return nil }

var (
	_ Starter = (*Direct)(nil)
	_ Store   = (*DirectStore)(nil)
	_         = syscall.SIGKILL
)
