// Command prop plays the worker that misbehaves in tests.
//
//	prop serve PROGRAM    wait as the file BOOT says, fail as the file FAIL says
//	                      (in the slot of the file FAIL_SLOT only), else become PROGRAM
//	prop lines N          print N numbered lines and end at once
//	prop ticks N          print N lines, a few at a time, then stay
//	prop chat DIR         print numbered lines to both streams until a polite
//	                      signal, and note in DIR/PID how many
//	prop stubborn FILE    start a grandchild in its own session that ignores
//	                      every polite signal, write its pid to FILE, stay
//	prop orphans N        leave N zombies to whoever adopts them, stay
//	prop ignore           ignore every polite signal
//	prop exit CODE        end with a code
//	prop settings         take part in operations, print settings that change, stay
//	prop keeps            have one of everything that outlives an agent, stay
//	prop mark DIR         make a file in DIR that is named by the pid, stay
package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		fail("usage: prop WORD [ARGUMENT]")
	}
	arg := ""
	if len(os.Args) > 2 {
		arg = os.Args[2]
	}
	switch os.Args[1] {
	case "serve":
		serve(arg)
	case "lines":
		lines(number(arg))
	case "ticks":
		lines(number(arg))
		stay()
	case "chat":
		chat(arg)
	case "stubborn":
		stubborn(arg)
		stay()
	case "child":
		grandchild(arg)
	case "orphans":
		orphans(number(arg))
		stay()
	case "ignore":
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT)
		<-time.After(time.Hour)
	case "mark":
		if err := os.WriteFile(arg+"/"+strconv.Itoa(os.Getpid()), nil, 0o600); err != nil {
			fail(err.Error())
		}
		stay()
	case "keeps":
		os.Exit(keeps())
	case "settings":
		os.Exit(settings())
	case "exit":
		os.Exit(number(arg))
	default:
		fail("no such word: " + os.Args[1])
	}
}

func fail(text string) {
	fmt.Fprintln(os.Stderr, "prop:", text)
	os.Exit(1)
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		fail(s + " is no number")
	}
	return n
}

// content of a file of this release, "" when there is none.
func content(name string) string {
	text, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

func serve(program string) {
	if boot, err := time.ParseDuration(content("BOOT")); err == nil {
		<-time.After(boot)
	}
	if text := content("FAIL"); text != "" {
		if slot := content("FAIL_SLOT"); slot == "" || slot == os.Getenv("MUSTER_WORKER") {
			fail(text)
		}
	}
	fail(syscall.Exec(program, []string{program}, os.Environ()).Error())
}

func lines(n int) {
	out := bufio.NewWriterSize(os.Stdout, 32<<10)
	for i := range n {
		fmt.Fprintf(out, "line %d of %d\n", i+1, n)
	}
	_ = out.Flush()
}

// chat prints "out PID N" and "err PID N", N = 1, 2, 3 …, now and then in pieces,
// and writes the last N that both streams have taken to a file of its pid.
func chat(dir string) {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	pid := os.Getpid()
	note, err := os.OpenFile(fmt.Sprintf("%s/%d", dir, pid), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		fail(err.Error())
	}
	tick := time.NewTicker(2 * time.Millisecond)
	for n := 1; ; n++ {
		say(os.Stdout, fmt.Sprintf("out %d %d\n", pid, n), n)
		say(os.Stderr, fmt.Sprintf("err %d %d\n", pid, n), n+3)
		if _, err := note.WriteAt(fmt.Appendf(nil, "%09d", n), 0); err != nil {
			fail(err.Error())
		}
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}

// say writes a line, every seventh one in two pieces with a pause between.
func say(f *os.File, line string, n int) {
	if n%7 == 0 {
		_, _ = f.WriteString(line[:4])
		<-time.After(3 * time.Millisecond)
		line = line[4:]
	}
	_, _ = f.WriteString(line)
}

// stay waits for a polite signal.
func stay() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
	os.Exit(0)
}

// stubborn starts a child that starts the grandchild and ends, so that the
// grandchild is nobody's.
func stubborn(file string) {
	child := exec.Command(os.Args[0], "child", file)
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.Run(); err != nil {
		fail(err.Error())
	}
}

func grandchild(file string) {
	cmd := exec.Command(os.Args[0], "ignore")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		fail(err.Error())
	}
	if err := os.WriteFile(file+".new", []byte(strconv.Itoa(cmd.Process.Pid)), 0o600); err != nil {
		fail(err.Error())
	}
	if err := os.Rename(file+".new", file); err != nil {
		fail(err.Error())
	}
}

func orphans(n int) {
	for range n {
		if err := exec.Command("/bin/sh", "-c", "sleep 0.05 & exit 0").Run(); err != nil {
			fail(err.Error())
		}
	}
}
