package serve

import (
	"log/slog"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/muster-run/muster/internal/console"
	"github.com/muster-run/muster/internal/process"
)

// SessionOver tells the console that its session has ended: it leaves when the command
// that runs is done.
const SessionOver = syscall.SIGUSR1

// deskPatience is how long that may take.
const deskPatience = 2 * time.Second

// desk is the place of the console of a session in the foreground: a client of the
// agent like any other, but a child of the keeper, which has the terminal, and takes it
// back when the console ends, however it does. The session does not depend on it.
type desk struct {
	name, key string
	tty       *os.File
	log       *slog.Logger
}

// open starts the console; end ends it.
func (d desk) open(start func(process.Command) (*process.Aide, error)) (end func()) {
	none := func() {}
	mode, err := term.GetState(int(d.tty.Fd()))
	if err != nil {
		d.log.Warn("no console: this is no terminal", "error", err)
		return none
	}
	dir, _ := os.Getwd()
	aide, err := start(process.Command{
		ID: "console", Argv: []string{"muster", "console", "--attached", d.key, "--project", d.name}, Env: detached(os.Environ()), Dir: dir,
	})
	if err != nil {
		d.log.Warn("no console", "error", err)
		return none
	}
	ended := make(chan struct{})
	go func() { // ends with the console
		defer close(ended)
		exit := aide.Wait()
		_ = console.ToFront(d.tty, unix.Getpgrp()) // fails where the terminal is gone
		_ = term.Restore(int(d.tty.Fd()), mode)
		if exit.Signal != 0 && exit.Signal != SessionOver {
			_, _ = os.Stderr.WriteString(strings.Join([]string{"", "the console is gone; what runs goes on, Ctrl-C ends it", ""}, "\r\n"))
		}
	}()
	return func() {
		late := time.AfterFunc(deskPatience, func() { _ = aide.Signal(syscall.SIGKILL) }) // ESRCH: it has left
		defer late.Stop()
		_ = aide.Signal(SessionOver)
		<-ended
	}
}
