package peer

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
	"github.com/muster-run/muster/internal/op/pattern"
)

// CommandFunc runs a command that somebody typed in the console. args are its words by
// the names of Command.Pattern, of the types it says: string, int64, float64, bool,
// []string. What it returns is shown: a string as it is, anything else as JSON.
type CommandFunc func(ctx context.Context, args map[string]any) (any, error)

// commands that the process offers.
type commands struct {
	mu  sync.Mutex
	all map[string]*command
}

type command struct {
	Command
	words pattern.Pattern
	f     CommandFunc
}

func (c *command) run(ctx context.Context, args map[string]any) (any, error) {
	return c.f(ctx, c.words.Typed(args))
}

func (c *commands) start() { c.all = map[string]*command{} }

// AddCommand offers a command to the console. remove takes it back. One name has one
// command: a second one replaces it.
func (p *Peer) AddCommand(ctx context.Context, c Command, f CommandFunc) (remove func(), err error) {
	if err := checkName("the command", c.Name); err != nil {
		return nil, err
	}
	words, err := pattern.Parse(c.Pattern)
	if err != nil {
		return nil, err
	}
	cs, own := &p.commands, &command{c, words, f}
	cs.mu.Lock()
	cs.all[c.Name] = own
	cs.mu.Unlock()
	remove = func() {
		cs.mu.Lock()
		defer cs.mu.Unlock()
		if cs.all[c.Name] == own {
			delete(cs.all, c.Name)
			p.tell(op.DelCommands, op.CommandsBody{Commands: []Command{{Name: c.Name}}})
		}
	}
	if err := p.primitive(ctx, op.AddCommands, op.CommandsBody{Commands: []Command{c}}, nil); err != nil {
		remove()
		return nil, err
	}
	return remove, nil
}

// Commands lists what all processes offer to the console.
func (p *Peer) Commands(ctx context.Context) ([]Command, error) {
	var body op.CommandsBody
	err := p.Request(ctx, "", op.Commands, nil, &body)
	return body.Commands, err
}

// OwnCommands lists what this process offers, by name.
func (p *Peer) OwnCommands() []Command {
	c := &p.commands
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]Command, 0, len(c.all))
	for _, name := range slices.Sorted(maps.Keys(c.all)) {
		list = append(list, c.all[name].Command)
	}
	return list
}

// RunCommand runs a command that this process offers with the words behind its name, as
// the console would. Words that do not fit its pattern are E-USAGE.
func (p *Peer) RunCommand(ctx context.Context, name string, words []string) (any, error) {
	c := &p.commands
	c.mu.Lock()
	own := c.all[name]
	c.mu.Unlock()
	if own == nil {
		return nil, notOffered(name)
	}
	args, err := own.words.Match(words)
	if err != nil {
		return nil, err
	}
	return own.f(ctx, args)
}

func notOffered(name string) error {
	return fault.New(fault.UnknownOp, "this process offers no command %q", name).WithFix("`help` lists the commands")
}

// find is who runs the command of a frame.
func (c *commands) find(f op.Frame) []*registered {
	var call op.CommandCall
	err := json.Unmarshal(f.Body, &call)
	c.mu.Lock()
	own := c.all[call.Name]
	c.mu.Unlock()
	return []*registered{{f: func(ctx context.Context, _ *Request) (any, error) {
		switch {
		case err != nil:
			return nil, fault.New(fault.Usage, "the command cannot be read: %w", err).WithFix("send op.CommandCall")
		case own == nil:
			return nil, notOffered(call.Name)
		}
		return own.run(ctx, call.Args)
	}}}
}
