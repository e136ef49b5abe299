package processtest

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/muster-run/muster/internal/process"
)

// programEnv names the program that a test binary, run again, is to be.
const programEnv = "MUSTER_TEST_PROGRAM"

// Setup must be the first call of TestMain: it becomes the exec step or one of
// the suite's programs where this process was started as such.
func Setup() {
	if process.IsStep() {
		process.RunStep()
	}
	if name := os.Getenv(programEnv); name != "" {
		os.Exit(runProgram(name, os.Args[1:]))
	}
}

// Program is a Command, still without ID, that runs one of the suite's programs:
//
//	exit CODE           ends with a code
//	lines N             writes N numbered lines and ends without ado
//	env                 prints its environment, one variable a line
//	state               prints its descriptors, umask, limits, identity and directory
//	sleep               waits for a signal, which ends it
//	stubborn            ignores TERM, INT and HUP
//	family              starts a stubborn grandchild in its own session, orphaned,
//	                    prints its pid, and sleeps
//	daemon CODE         starts "sleep" in a session of its own, prints its pid,
//	                    ends with CODE
//	wrap PROGRAM ARGS…  starts a program as a child, prints its pid, waits for it,
//	                    and ends with its code
//	nested COMMAND…     runs a command by process.Run
//	clean PROGRAM ARGS… as daemon 0, without the mark and without the pipes' close
func Program(name string, args ...string) process.Command {
	self, err := os.Executable()
	if err != nil {
		panic(err) // no test can run
	}
	return process.Command{
		Argv: append([]string{self}, args...),
		Env:  []string{programEnv + "=" + name, "PATH=" + os.Getenv("PATH"), "HOME=/"},
		Dir:  "/",
	}
}

func runProgram(name string, args []string) int {
	arg := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	number, _ := strconv.Atoi(arg(0))
	switch name {
	case "exit":
		return number
	case "lines":
		return printLines(number)
	case "env":
		fmt.Println(strings.Join(os.Environ(), "\n"))
	case "state":
		return printState()
	case "sleep":
		time.Sleep(time.Hour)
	case "stubborn":
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
		fmt.Println("ignoring")
		time.Sleep(time.Hour)
	case "family":
		return runFamily()
	case "orphan": // the middle of family
		fmt.Println(startProgram(os.Environ(), "stubborn").Pid)
	case "daemon":
		fmt.Println(startProgram(os.Environ(), "sleep").Pid)
		return number
	case "wrap":
		child := startProgram(os.Environ(), args[0], args[1:]...)
		fmt.Println(child.Pid)
		state, err := child.Wait()
		if err != nil {
			return 99
		}
		return state.ExitCode()
	case "nested": // runs its arguments, as muster runs a worker
		r, err := process.Run(context.Background(), process.Command{Argv: args, Env: os.Environ(), Dir: "/"})
		fmt.Print(string(r.Output))
		if err != nil {
			return 99
		}
		return r.Exit.Code
	case "clean":
		env := slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, process.MarkEnv) })
		fmt.Println(startProgram(env, args[0], args[1:]...).Pid)
	default:
		fmt.Fprintln(os.Stderr, "no such program:", name)
		return 98
	}
	return 0
}

// startProgram starts another program in a session of its own.
func startProgram(env []string, name string, args ...string) *os.Process {
	c := Program(name, args...)
	env = slices.DeleteFunc(slices.Clone(env), func(kv string) bool { return strings.HasPrefix(kv, programEnv) })
	env = append(env, programEnv+"="+name)
	p, err := os.StartProcess(c.Argv[0], c.Argv, &os.ProcAttr{
		Env: env, Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		panic(err) // seen in the test's output
	}
	return p
}

func runFamily() int {
	if _, err := startProgram(os.Environ(), "orphan").Wait(); err != nil {
		return 99
	}
	fmt.Println("family")
	time.Sleep(time.Hour)
	return 0
}

// printLines writes as fast as it can and leaves without closing anything.
func printLines(n int) int {
	w := bufio.NewWriterSize(os.Stdout, 3001) // lines are torn between writes
	for i := range n {
		fmt.Fprintf(w, "line %d\n", i)
	}
	w.Flush()
	syscall.Exit(0)
	return 0
}

func printState() int {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 1
	}
	for _, fd := range fds {
		if target, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil {
			fmt.Printf("fd %s %s\n", fd.Name(), target)
		}
	}
	status, _ := os.ReadFile("/proc/self/status")
	limits, _ := os.ReadFile("/proc/self/limits")
	stat, _ := os.ReadFile("/proc/self/stat")
	score, _ := os.ReadFile("/proc/self/oom_score_adj")
	dir, _ := os.Getwd()
	fmt.Printf("%s%sstat %soom %sdir %s\n", status, limits, stat, score, dir)
	return 0
}
