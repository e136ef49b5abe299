package step

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/internal/process/cgroup"
)

// Arg is argv[0] of the exec step; argv[1] is the number of the descriptor
// that holds the plan. The next one is the pipe for reports.
const Arg = "muster-exec-step"

// defaultPath is searched when the worker's environment has no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Is says that this process is an exec step: main must call Run first.
func Is() bool { return len(os.Args) == 2 && os.Args[0] == Arg }

// Run turns this process into the program of the plan. It never returns:
// what fails is reported to the Starter, and the process ends with code 127.
func Run() {
	// Nice, no_new_privs and the signal mask belong to a thread; exec keeps
	// those of the thread that calls it.
	runtime.LockOSThread()
	fd, err := strconv.Atoi(os.Args[1])
	if err != nil || fd < 3 {
		os.Exit(127)
	}
	s := &step{pipe: fd + 1}
	if _, err := unix.FcntlInt(uintptr(s.pipe), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
		os.Exit(127)
	}
	s.run(fd)
	os.Exit(127)
}

// step is one exec step at work.
type step struct {
	pipe int // the descriptor after that of the plan; that of Plan.Exe follows
	plan Plan
}

// stepError is a failure and the part that failed.
type stepError struct {
	stage  Stage
	errno  syscall.Errno
	detail string
}

// Error implements error.
func (e *stepError) Error() string { return string(e.stage) + ": " + e.errno.Error() }

func failed(at Stage, err error, detail string) error {
	if err == nil {
		return nil
	}
	return &stepError{at, errnoOf(err), detail}
}

// run does everything in order and returns only when something has failed.
func (s *step) run(fd int) {
	err := s.read(fd)
	for _, part := range []func() error{s.limits, s.identity, s.bind, s.chdir, s.exec} {
		if err != nil {
			break
		}
		err = part()
	}
	var failure *stepError
	if errors.As(err, &failure) {
		s.report(Report{failure.stage, failure.errno, failure.detail, true})
	}
}

func (s *step) report(r Report) {
	if text, err := json.Marshal(r); err == nil {
		_, _ = unix.Write(s.pipe, append(text, '\n'))
	}
}

// read gets the plan and makes sure that nothing but the worker's own files,
// which are all below fd, is open after exec.
func (s *step) read(fd int) error {
	f := os.NewFile(uintptr(fd), "plan")
	text, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
	if err != nil {
		return failed(StagePlan, err, "")
	}
	if err := json.Unmarshal(text, &s.plan); err != nil {
		return failed(StagePlan, syscall.EINVAL, "")
	}
	return failed(StagePlan, closeOnExec(fd), "")
}

// closeOnExec marks every descriptor from first on.
func closeOnExec(first int) error {
	if err := unix.CloseRange(uint(first), 1<<31-1, unix.CLOSE_RANGE_CLOEXEC); err == nil {
		return nil
	}
	dir, err := os.Open("/proc/self/fd") // before Linux 5.11
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	for _, name := range names {
		if n, err := strconv.Atoi(name); err == nil && n >= first {
			unix.CloseOnExec(n)
		}
	}
	return err
}

// limits sets what may need the agent's own privileges.
func (s *step) limits() error {
	p := &s.plan
	s.joinCgroup()
	if p.Umask != nil {
		unix.Umask(int(*p.Umask))
	}
	if p.NoFile > 0 {
		if err := limit(syscall.RLIMIT_NOFILE, p.NoFile); err != nil {
			return failed(StageNoFile, err, strconv.FormatUint(p.NoFile, 10))
		}
	}
	if p.Core != nil {
		if err := limit(syscall.RLIMIT_CORE, *p.Core); err != nil {
			return failed(StageCore, err, strconv.FormatUint(*p.Core, 10))
		}
	}
	if p.Nice != nil {
		if err := unix.Setpriority(unix.PRIO_PROCESS, 0, *p.Nice); err != nil {
			return failed(StageNice, err, strconv.Itoa(*p.Nice))
		}
	}
	if p.OOMScore != nil {
		score := strconv.Itoa(*p.OOMScore)
		if err := writeFile("/proc/self/oom_score_adj", score); err != nil {
			return failed(StageOOM, err, score)
		}
	}
	return nil
}

// joinCgroup never fails a start: the process then has no cgroup of its own.
func (s *step) joinCgroup() {
	if len(s.plan.Cgroup) == 0 {
		return
	}
	if err := cgroup.Join(string(s.plan.Cgroup)); err != nil {
		s.report(Report{Stage: StageCgroup, Errno: errnoOf(err)})
	}
}

// limit sets the soft and the hard limit. (syscall.Setrlimit, not unix.Prlimit:
// it makes Go forget the soft NOFILE limit that it would restore at exec.)
func limit(resource int, n uint64) error {
	return syscall.Setrlimit(resource, &syscall.Rlimit{Cur: n, Max: n})
}

// identity changes groups, group and user. Without privileges the identity that
// the process already has is no change.
func (s *step) identity() error {
	if id := s.plan.Identity; id != nil && !(id.UID == uint32(os.Getuid()) && id.GID == uint32(os.Getgid()) && os.Geteuid() != 0) {
		groups := make([]int, len(id.Groups))
		for i, g := range id.Groups {
			groups[i] = int(g)
		}
		if err := syscall.Setgroups(groups); err != nil {
			return failed(StageIdentity, err, strconv.Itoa(int(id.UID))+" (supplementary groups)")
		}
		if err := syscall.Setgid(int(id.GID)); err != nil {
			return failed(StageIdentity, err, strconv.Itoa(int(id.UID))+" (group "+strconv.Itoa(int(id.GID))+")")
		}
		if err := syscall.Setuid(int(id.UID)); err != nil {
			return failed(StageIdentity, err, strconv.Itoa(int(id.UID)))
		}
	}
	if s.plan.NoNewPrivs {
		return failed(StagePrivs, unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "")
	}
	return nil
}

// bind makes the process end with its parent. The kernel forgets that when the
// identity changes, so it comes after that; and when exec gives privileges (a
// program with the set-user-ID bit outlives its parent).
func (s *step) bind() error {
	if s.plan.Parent == 0 {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return failed(StageParent, err, "")
	}
	if os.Getppid() != s.plan.Parent { // it died before: nobody will send the signal
		return failed(StageParent, syscall.ESRCH, "")
	}
	return nil
}

func (s *step) chdir() error {
	if len(s.plan.Dir) == 0 {
		return nil
	}
	return failed(StageDir, syscall.Chdir(string(s.plan.Dir)), "")
}

// exec finds the program and becomes it.
func (s *step) exec() error {
	argv, env := splitZero(s.plan.Argv), splitZero(s.plan.Env)
	pid := os.Getpid()
	if len(s.plan.Mark) > 0 {
		env = append(env, string(s.plan.Mark)+strconv.Itoa(pid))
	}
	if s.plan.Listen {
		env = append(env, "LISTEN_PID="+strconv.Itoa(pid))
	}
	file, err := s.program(argv[0], env)
	if err != nil {
		return err
	}
	if err := defaultSignals(); err != nil {
		return failed(StageExec, err, "")
	}
	err = syscall.Exec(file, argv, env)
	// A release being written is "busy" for the blink of an eye.
	for wait := 10 * time.Millisecond; errors.Is(err, syscall.ETXTBSY) && wait < 400*time.Millisecond; wait *= 2 {
		time.Sleep(wait)
		err = syscall.Exec(file, argv, env)
	}
	if errors.Is(err, syscall.ENOENT) {
		return missingInterpreter(file, err)
	}
	return failed(StageExec, err, "")
}

// program is the file to execute.
func (s *step) program(name string, env []string) (string, error) {
	if s.plan.Exe {
		return "/proc/self/fd/" + strconv.Itoa(s.pipe+1), nil
	}
	return findProgram(name, env)
}

// findProgram looks name up as execvp does.
func findProgram(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, failed(StageFind, exists(name), "there is no such file")
	}
	path := defaultPath
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	found := syscall.ENOENT
	for dir := range strings.SplitSeq(path, ":") {
		if dir == "" {
			dir = "."
		}
		file := dir + "/" + name
		if exists(file) != nil {
			continue
		}
		if executable(file) {
			return file, nil
		}
		found = syscall.EACCES
	}
	return "", failed(StageFind, found, "not found in PATH ("+path+")")
}

func exists(file string) error {
	var st unix.Stat_t
	return unix.Stat(file, &st)
}

func executable(file string) bool {
	var st unix.Stat_t
	return unix.Stat(file, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && unix.Access(file, unix.X_OK) == nil
}

// missingInterpreter says why exec of an existing file answered ENOENT.
func missingInterpreter(file string, err error) error {
	if gone := exists(file); gone != nil {
		return failed(StageFind, gone, "there is no such file")
	}
	f, openErr := os.Open(file)
	if openErr != nil {
		return failed(StageInterp, err, "its interpreter does not")
	}
	defer f.Close()
	head := make([]byte, 256)
	n, _ := io.ReadFull(f, head)
	line, script := bytes.CutPrefix(head[:n], []byte("#!"))
	if !script {
		return failed(StageInterp, err, "its dynamic loader does not (built for another system?)")
	}
	line, _, _ = bytes.Cut(line, []byte("\n"))
	name, _, _ := strings.Cut(strings.TrimLeft(string(line), " \t"), " ")
	if interp, crlf := strings.CutSuffix(name, "\r"); crlf {
		return failed(StageInterp, err, "its #! line ends in a carriage return, so that "+strconv.Quote(interp+"\r")+" is not found")
	}
	return failed(StageInterp, err, "the interpreter of its #! line, "+name+", does not")
}

// defaultSignals undoes what exec would hand down: ignored signals (nohup, a
// shell's background jobs) and the signal mask.
func defaultSignals() error {
	var action [8]uint64 // SIG_DFL, no flags, no mask: all zero, whatever its layout
	for sig := uintptr(1); sig <= 64; sig++ {
		if sig == uintptr(unix.SIGKILL) || sig == uintptr(unix.SIGSTOP) {
			continue
		}
		// EINVAL: not a signal of this architecture.
		_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
	}
	var none unix.Sigset_t
	return unix.PthreadSigmask(unix.SIG_SETMASK, &none, nil)
}

func writeFile(path, text string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(text))
	return err
}
