package worker

import (
	"context"
	"sync"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
	"github.com/muster-run/muster/peer"
	"github.com/muster-run/muster/worker/internal/console"
)

// consoles is the console of the worker, where it is open.
type consoles struct {
	mu     sync.Mutex
	open   *console.Console
	closed bool // the worker is
}

// openConsole opens it, or says where it is already (S0.12).
func (w *Worker) openConsole(context.Context, *peer.Request) (any, error) {
	c := &w.console
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, fault.New(fault.ConsoleFailed, "the worker is about to end")
	}
	if c.open == nil {
		now := w.Settings()
		opened, err := console.Open(now.ConsoleDir, now.ConsolePort, w.program())
		if err != nil {
			return nil, err
		}
		c.open = opened
	}
	address, token := c.open.Address()
	return op.ConsolePlace{Path: c.open.Path(), Address: address, Token: token}, nil
}

// program is what the console looks into.
func (w *Worker) program() console.Program {
	return console.Program{Name: w.Name(), Vars: w.o.Vars, Commands: w.consoleCommands, Run: w.runCommand}
}

func (w *Worker) consoleCommands() []console.Command {
	var list []console.Command
	for _, c := range w.OwnCommands() {
		list = append(list, console.Command{Name: c.Name, Pattern: c.Pattern, Help: c.Help})
	}
	return list
}

// closeConsole closes it, on muster's word.
func (w *Worker) closeConsole(context.Context, *peer.Request) (any, error) {
	w.console.shut()
	return nil, nil
}

func (c *consoles) shut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open != nil {
		c.open.Close()
		c.open = nil
	}
}

// close closes it for good.
func (c *consoles) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.shut()
}

// runCommand runs a command that the program offers.
func (w *Worker) runCommand(ctx context.Context, c console.Command, words []string) (any, error) {
	return w.RunCommand(ctx, c.Name, words)
}
