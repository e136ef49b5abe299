// Package process starts, signals and waits for one OS process and everything
// that comes from it.
//
// # Start
//
// Go cannot set limits, umask or LISTEN_PID between fork and exec, so a start
// goes through a step in the same pid: this program itself, run as StepArg.
//
//	Start ─ fork ─► exec step ─ cgroup, limits, identity, dir ─► exec program
//	  ▲               │ plan: JSON in a memfd above the worker's files
//	  └── reports ◄───┘ over a CLOEXEC pipe: its end means that exec succeeded
//
// The step costs about one start of a Go program (2 to 7 ms, by the size of the
// binary) for each worker started; BenchmarkStep measures it. Every worker
// leads a session and group of its own, has its files at 3, 4, …, nothing else
// open, no signal ignored or blocked, and the soft NOFILE limit that muster was
// started with.
//
// # Death of this process
//
// With Options.DieWithParent what Start made dies with this process, also when
// that is killed: the step has the kernel send SIGKILL (PR_SET_PDEATHSIG). The
// kernel does so when the thread that forked ends, so one thread forks all of
// them and lives as long as the Direct (package thread). What these processes have
// started in their turn lives on, and a program that gets privileges from its
// file.
//
// An Aide is a child that is no worker: the agent of a keeper. It runs what an
// open descriptor refers to, whatever file has that name now, in this process's
// group and session, and outlives it.
//
// # What belongs to a process
//
// Members of a Proc are the main process, its process group and session, its
// cgroup, whoever carries its mark (MarkEnv) in the environment, and the
// descendants of all of these. A process can leave all of that only by ending
// its parent, taking a new session and clearing its environment, and there only
// without a cgroup; such a one becomes this process's child (Subreap) and ends
// with KillOrphans.
//
// Numbers are not trusted: a pid is signalled through a pidfd whose process has
// the expected start time, and Direct leaves an ended process a zombie until
// Ack, so that its pid, group and session number stay its own. After Ack, or
// when a group's first process is gone, group and session count no more.
//
// # Exits
//
// The main process is what Start made until SetMain names another member. Its
// exit is delivered once, in order, without blocking anybody. The code is -1
// and the signal 0 when nobody could tell how it ended: a main process that is
// not our child (its parent still lives) on a kernel before 6.15. SetMain after
// the exit (a program that has forked itself into the background) takes that
// exit back; the new main process's own is delivered later, with its PID.
//
// # Spool
//
// stdout and stderr are pipes, read here and appended to a spool: a log whose
// positions count from its first byte. A place in it is a position and, behind
// that, a number of bytes of each stream: what the reader has committed. What is
// before the position is removed.
//
//	DIR/position                 three hex numbers, position and bytes of stdout and
//	                             stderr, filled up to 51 bytes, overwritten in place
//	DIR/0000000000000000.spool   a segment, named by the position of its first byte
//
// A segment is a row of chunks, one for each read of a pipe, little-endian:
//
//	0  byte   0xC5
//	1  byte   stream, 1 or 2
//	2  2×0
//	4  uint32 length of the data, 1 to 65536
//	8  int64  time, nanoseconds since 1970
//	16 uint32 CRC-32 (IEEE) of bytes 0 to 15 and the data
//	20        data
//
// A chunk that is cut off or damaged ends its segment; the reader goes on with
// the next segment. A reader may be in another process (spool.Follow): it reads
// the segments itself, up to the end that it is told.
//
// When more than Options.SpoolMax is not committed, pipes are
// not read until it is, so that the process waits and nothing is lost: a reader
// must commit while it reads. What the disk refuses stays in memory (256 KiB,
// then the process waits), is served from there, and is written later.
//
// The output ends (io.EOF) when both pipes are closed. When the main process
// has ended but a pipe is still held, it goes on until nobody of the group is
// left and nothing came for 200 ms more; what a stranger that was handed the
// pipe prints later is lost. Ack ends it at once, with what the pipes hold then;
// a reader that is open can still read all of it, and its Close removes the
// files. Close of a Direct leaves them.
//
// # Deadline
//
// KillAt is kept on CLOCK_BOOTTIME: it passes while the machine sleeps, too.
// Then the group is killed as by Kill, and the exit delivered as any other.
package process
