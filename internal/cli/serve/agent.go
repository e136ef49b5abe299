package serve

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/agent"
	"github.com/muster-run/muster/internal/cli/show"
	"github.com/muster-run/muster/internal/keeper"
	"github.com/muster-run/muster/internal/process"
)

// Process is the process of an agent: its streams, and where it finds what it
// needs when no keeper has started it.
type Process struct {
	Out, Err io.Writer
	Environ  []string
	// Boot and Answer are descriptors of an agent without a keeper; -1: none.
	Boot, Answer int
}

// RunAgent is `muster agent`: the child of a keeper, or with Boot an agent in the
// background without one. It returns the exit code, and what went wrong with the
// agent itself.
func (p Process) RunAgent(ctx context.Context) (int, error) {
	text := agent.Variable(p.Environ, keeper.FDEnv)
	if text == "" {
		return p.alone(ctx)
	}
	fd, err := strconv.Atoi(text)
	if err != nil {
		return 1, fault.New(fault.Usage, "%s=%q is no descriptor", keeper.FDEnv, text)
	}
	// What the agent starts or reads again must look as it did to the first command.
	key := agent.Variable(p.Environ, keeper.ProjectEnv)
	for _, name := range []string{keeper.FDEnv, keeper.ProjectEnv} {
		os.Unsetenv(name)
		p.Environ = slices.DeleteFunc(slices.Clone(p.Environ), func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
	}
	client, hello, err := keeper.Dial(fd)
	if err != nil {
		return 1, errors.Join(err, p.clear(key, err))
	}
	defer client.Close()
	code, began, err := p.kept(ctx, client, hello)
	select {
	case <-client.Lost():
		if !began { // or it has done that itself
			err = errors.Join(err, p.clear(key, fault.New(fault.KeeperLost, "the keeper is gone")))
		}
	default:
	}
	return code, err
}

// clear ends what runs of a project (by its key) whose keeper was lost, before
// there was an agent that could. A keeper that only does not answer has the lock,
// and nothing of it is touched.
func (p Process) clear(key string, lost error) error {
	if fault.CodeOf(lost) != fault.KeeperLost || key == "" {
		return nil
	}
	_, err := agent.EndLeftovers(agent.FindRoots(p.Environ).Key(key))
	if fault.CodeOf(err) == fault.AgentRunning {
		return nil
	}
	return err
}

// kept runs the agent of a keeper. began says that it got as far as to serve.
func (p Process) kept(ctx context.Context, client *keeper.Client, hello keeper.Hello) (code int, began bool, err error) {
	text, err := process.Records{Store: client.Store()}.Load(bootRecord)
	if err != nil {
		return 1, false, err
	}
	boot, err := decodeBoot(text)
	if err != nil {
		return 1, false, err
	}
	signals, stop := heeded(client.Signals())
	defer stop()
	r := p.runner(boot)
	r.signals = signals
	r.keeper = &agent.Keeper{Starter: client, Store: client.Store(), Link: client, Hello: hello}
	r.serving = func() { tellStored(client.Store(), nil) }
	go troubles(client, r.logger()) // ends with the process
	code, began, err = r.run(ctx)
	switch {
	case errors.Is(err, agent.ErrLeft):
		return 0, began, nil
	case fault.CodeOf(err) == fault.KeeperLost, !began && hello.Agents > 1:
		return 1, began, err
	}
	if err != nil {
		tellStored(client.Store(), fault.From(err))
	}
	return code, began, errors.Join(err, client.End(code))
}

// troubles logs what went wrong with what the keeper was told and nobody waited for.
func troubles(client *keeper.Client, log *slog.Logger) {
	for err := range client.Troubles() {
		log.Warn("the keeper could not do what it was told", "error", err)
	}
}

// alone runs an agent in the background that has no keeper.
func (p Process) alone(ctx context.Context) (int, error) {
	if p.Boot < 3 {
		return 2, fault.New(fault.Usage, "`muster agent` is started by muster itself").WithFix("`muster up -d` starts muster in the background")
	}
	var to *os.File
	if p.Answer >= 3 {
		to = inheritedFile(p.Answer, answerName)
	}
	file := inheritedFile(p.Boot, bootRecord)
	boot, err := readBoot(file)
	file.Close()
	if err != nil {
		return 1, err
	}
	signals, stop := obeyed()
	defer stop()
	r := p.runner(boot)
	r.signals = signals
	r.serving = func() { tell(to, nil); to = nil }
	code, _, err := r.run(ctx)
	if err != nil {
		tell(to, fault.From(err))
	}
	return code, err
}

func (p Process) runner(b Boot) runner {
	get := func(name string) string { return agent.Variable(p.Environ, name) }
	return runner{
		boot: b, environ: p.Environ,
		out: show.NewPrinter(p.Out, get, b.NoColour), err: show.NewPrinter(p.Err, get, b.NoColour),
	}
}

// inheritedFile is a descriptor that this process was given; it is not passed on.
func inheritedFile(fd int, name string) *os.File {
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), name)
}
