package serve

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"

	"github.com/muster-run/muster/internal/keeper"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/process"
)

// keeperWord is the first argument of a keeper, agentWord that of an agent.
const (
	keeperWord = "keeper"
	agentWord  = "agent"
)

// keeperPlan is the command line of a keeper. Descriptors are numbers; those that
// are not there are -1.
type keeperPlan struct {
	name, key    string
	boot, answer int
	noCgroup     bool
	console      bool // on the terminal
}

// argv is what `ps` shows.
func (p keeperPlan) argv() []string {
	argv := []string{"muster", keeperWord, p.name, "--key", p.key, "--boot", strconv.Itoa(p.boot)}
	if p.answer >= 0 {
		argv = append(argv, "--answer", strconv.Itoa(p.answer))
	}
	if p.noCgroup {
		argv = append(argv, "--no-cgroup")
	}
	if p.console {
		argv = append(argv, "--console")
	}
	return argv
}

// parseKeeper reads what argv has written.
func parseKeeper(args []string) (p keeperPlan, err error) {
	if len(args) < 3 {
		return p, fmt.Errorf("%d arguments", len(args))
	}
	p.name = args[2]
	flags := flag.NewFlagSet(keeperWord, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&p.key, "key", "", "")
	flags.IntVar(&p.boot, "boot", -1, "")
	flags.IntVar(&p.answer, "answer", -1, "")
	flags.BoolVar(&p.noCgroup, "no-cgroup", false, "")
	flags.BoolVar(&p.console, "console", false, "")
	if err := flags.Parse(args[3:]); err != nil {
		return p, err
	}
	if p.key == "" || p.boot < 3 || flags.NArg() > 0 {
		return p, fmt.Errorf("incomplete: %q", args[3:])
	}
	return p, nil
}

// IsKeeper says whether this process was executed as a keeper (os.Args).
func IsKeeper(args []string) bool { return len(args) > 1 && args[1] == keeperWord }

// RunKeeper is the whole life of a keeper; it returns the exit code of muster.
func RunKeeper(args []string) int {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	p, err := parseKeeper(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error: `muster keeper` is started by `muster up` and `muster run`:", err)
		return 2
	}
	files := map[string]*os.File{"record/" + bootRecord: inheritedFile(p.boot, bootRecord)}
	if p.answer >= 0 {
		files[answerName] = inheritedFile(p.answer, answerName)
	}
	sockets, err := passedOn()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	o := keeper.Options{
		Project: p.key, Version: Version(), NoCgroup: p.noCgroup, Files: files, Inherited: sockets,
		Args: []string{agentWord, p.name}, Log: log,
	}
	if p.console {
		o.Beside = desk{name: p.name, key: p.key, tty: os.Stdin, log: log}.open
	}
	return keeper.Run(o)
}

// passedOn are the sockets that muster was given by LISTEN_FDS.
func passedOn() ([]process.NamedFD, error) {
	named, err := listener.Inherited()
	if err != nil {
		return nil, err
	}
	var list []process.NamedFD
	for _, n := range named {
		list = append(list, process.NamedFD{Name: n.Name, File: n.File})
	}
	return list, nil
}
