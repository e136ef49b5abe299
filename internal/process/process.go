package process

import (
	"context"
	"os"
	"syscall"
	"time"

	"github.com/muster-run/muster/spec"
)

// MarkEnv is the variable that marks a worker and whatever it starts, so that
// strays are found without cgroups. Its value is ID:PID, the pid being that of
// the process that Start made: two agents on a machine may use the same IDs.
const MarkEnv = "MUSTER_PROC"

// MetaMax is the largest Meta, in bytes.
const MetaMax = 4 << 10

// Command says how to start one process. ID is unique for the Starter's life:
// starting an ID twice returns the first process (idempotent).
type Command struct {
	ID   string
	Argv []string // Argv[0] is looked up in Env's PATH; a relative path is relative to Dir
	Env  []string // complete, "K=V"
	Dir  string   // absolute
	// Files are given to the process at 3, 4, …; the first Listen of them are
	// listening sockets, announced by LISTEN_FDS, LISTEN_FDNAMES (their names)
	// and LISTEN_PID (the process's own pid).
	Files  []NamedFD
	Listen int
	// Stdin of the process; nil: /dev/null. It is made blocking, as programs
	// expect (Files are left as they are).
	Stdin *os.File
	// Identity, Umask and Limits are set between fork and exec.
	Identity *Identity // nil: unchanged
	Umask    *spec.FileMode
	Limits   spec.Limits
	// Cgroup asks for a cgroup of its own where one can be had.
	Cgroup bool
	// Spool is a directory for the output of stdout and stderr (created 0700).
	// "": output is inherited from the agent (for Run: returned).
	Spool string
	// Meta is opaque to the Starter, at most MetaMax bytes: what a later agent
	// needs to know to adopt the process.
	Meta []byte
	// KillAt is the dead-man deadline; zero: none.
	KillAt time.Time
}

// uid of the process, -1 when it is the agent's.
func (c Command) uid() int {
	if c.Identity == nil {
		return -1
	}
	return int(c.Identity.UID)
}

// NamedFD is a descriptor for a process; the Starter does not close it.
type NamedFD struct {
	Name string
	File *os.File
}

// Identity is the user a process runs as.
type Identity struct {
	UID, GID uint32
	Groups   []uint32
}

// Proc is a started process. Its methods (group.go) act on the process, or on
// everything that came from it: process group, session, cgroup, and whatever
// carries its mark.
type Proc struct {
	ID  string
	PID int // of the main process
	// Leader is the session and process group that Start made: PID, until
	// SetMain. 0 is read as PID.
	Leader int
	// StartTime is field 22 of /proc/PID/stat (clock ticks since boot).
	StartTime uint64
	// PidFD refers to the main process for as long as the Starter keeps it.
	PidFD *os.File
	// Cgroup is the directory of its own cgroup; "": it has none.
	Cgroup string
	Meta   []byte
	// Exit is set once the main process has ended.
	Exit *Exit

	// LeaderStart is the StartTime of Leader; 0: Leader is PID.
	LeaderStart uint64

	ops Ops // nil: the operating system's (group.go)
}

// Exit says how a main process ended.
type Exit struct {
	ID     string
	PID    int
	Code   int            // -1 when a signal ended it
	Signal syscall.Signal // 0 when it exited
	Core   bool
	Time   time.Time
	CPU    time.Duration // user + system
}

// Starter starts processes and keeps what must outlive an agent. Safe for
// concurrent use. Two implementations are held to one conformance suite: Direct
// (the agent is the parent) and, later, the keeper's.
type Starter interface {
	// Start returns once the program itself runs (exec succeeded) or failed:
	// ENOENT, EACCES, ENOTDIR … come back as a *fault.Fault that wraps the errno.
	Start(Command) (Proc, error)
	// List returns every process whose exit has not been acknowledged.
	List() []Proc
	// Exits delivers each exit once; it stays in List until Ack.
	Exits() <-chan Exit
	// Ack forgets a process that has exited, with its spool and cgroup.
	Ack(id string)
	// SetMeta replaces Meta.
	SetMeta(id string, meta []byte) error
	// SetMain makes another member of the process's group its main process
	// (sd_notify MAINPID, a master that forks itself into the background), also
	// after the old one has exited: the new one's exit is then delivered too.
	SetMain(id string, pid int) (Proc, error)
	// SetKillAt moves the dead-man deadline; zero removes it.
	SetKillAt(id string, t time.Time) error
	// Output is the reader of the process's spool; one reader at a time.
	Output(id string) (Output, error)
}

// Output reads what a process printed, in order, each byte once. Not safe for
// concurrent use.
type Output interface {
	// Next blocks until there is more, and returns io.EOF after the last byte
	// of a process that has ended (and whose pipes are drained). stream is 1
	// or 2. data is valid until the next call. Reading begins at what was
	// committed last, by whichever agent; of a chunk that is committed while one
	// before it is not, data is empty.
	Next(ctx context.Context) (stream int, data []byte, at time.Time, err error)
	// Where tells of the chunk that Next returned last: its position in the
	// spool, that of the chunk after it, and how many bytes were left out at its
	// head because they are committed.
	Where() (pos, next int64, skipped int)
	// Commit says that all before pos is recorded elsewhere, and of what is
	// behind it the first skip[0] bytes of stdout and skip[1] of stderr. A
	// place beyond what was read moves the reader there; one before what is
	// committed changes nothing.
	Commit(pos int64, skip [2]int64) error
	Close() error
}

// Store keeps descriptors by name. Safe for concurrent use.
type Store interface {
	// Put keeps a duplicate of f under a name; it replaces an earlier one.
	Put(name string, f *os.File) error
	// Get returns a new duplicate, nil when there is none; the caller closes it.
	Get(name string) (*os.File, error)
	// Take is Get, and the Store forgets it.
	Take(name string) (*os.File, error)
	List() []string
}
