package exchange

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/exchange/kept"
	"github.com/muster-run/muster/internal/exchange/whom"
	"github.com/muster-run/muster/internal/op"
)

const (
	// patternMax and helpMax bound the texts of a command, in bytes.
	patternMax, helpMax = 1 << 10, 4 << 10
)

// builtins are the operations that the Exchange itself serves.
func (e *Exchange) builtins() {
	for name, h := range map[string]func(*Call){
		op.Hello: e.serveHello, op.Peers: e.servePeers,
		op.Ping: func(c *Call) {
			if body := c.Body(); body != nil {
				c.Reply(body, nil)
				return
			}
			c.Reply(nil, nil)
		},
		op.Publish: e.servePublish, op.Subscribe: e.serveSubscribe, op.Unsubscribe: e.serveUnsubscribe,
		op.Listen: e.serveListen, op.Unlisten: e.serveUnlisten,
		op.AddCommands: e.serveAddCommands, op.DelCommands: e.serveDelCommands,
		op.Commands:  func(c *Call) { c.Reply(op.CommandsBody{Commands: e.Commands()}, nil) },
		op.Heartbeat: serveHeartbeat, op.Crash: serveCrash, op.Lifecycle: serveLifecycle,
	} {
		e.served[name] = served{h: h, builtin: true}
	}
}

// read makes a T of a body; without one it is empty.
func read[T any](c *Call) (b T, err error) {
	if len(c.body) == 0 {
		return b, nil
	}
	if err := json.Unmarshal(c.body, &b); err != nil {
		return b, fault.New(fault.Usage, "the body of %s cannot be read: %w", c.x.op, err)
	}
	return b, nil
}

func serveHeartbeat(c *Call) {
	if beat := c.x.asker.p.Beat; beat != nil {
		beat()
	}
	c.Reply(nil, nil)
}

func serveCrash(c *Call) {
	b, err := read[op.CrashBody](c)
	if crash := c.x.asker.p.Crash; crash != nil && err == nil {
		crash(b)
	}
	c.Reply(nil, err)
}

func serveLifecycle(c *Call) {
	b, err := read[op.TextBody](c)
	if say := c.x.asker.p.Lifecycle; say != nil && err == nil {
		say(b.Text)
	}
	c.Reply(nil, err)
}

// serveHello has a party take part. Said again it is only answered again.
func (e *Exchange) serveHello(c *Call) {
	s := c.x.asker
	e.mu.Lock()
	var err error
	if !s.joined && !s.gone {
		if err = e.write(s, kept.Record{Do: kept.DoHello, Name: s.p.Name, App: s.p.App, Role: s.p.Role, Tags: s.p.Tags, Slot: s.p.Slot}); err == nil {
			s.joined = true
			e.changed()
		}
	}
	w := op.Welcome{
		Project: e.o.Project, Node: e.o.Node, Name: s.p.Name, App: s.p.App, Role: s.p.Role, Tags: s.p.Tags, Slot: s.p.Slot,
		Settings: s.p.Settings, Agent: e.o.Agent, Epoch: e.o.Epoch,
	}
	e.leave()
	c.Reply(w, err)
}

func (e *Exchange) servePeers(c *Call) {
	b, err := read[op.PeersBody](c)
	var list []op.Peer
	if err == nil {
		list, err = e.Peers(b.To)
	}
	c.Reply(list, err)
}

// Peers are the parties with hello that a selector means, by name; "": all.
func (e *Exchange) Peers(to string) ([]op.Peer, error) {
	var sel whom.Selector
	if to != "" {
		var err error
		if sel, err = whom.Parse(to); err != nil {
			return nil, err
		}
	}
	list := []op.Peer{}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.sorted() {
		if s.joined && (to == "" || means(sel, s)) {
			list = append(list, op.Peer{Name: s.p.Name, App: s.p.App, Role: s.p.Role, PID: s.pid, Ready: s.ready})
		}
	}
	return list, nil
}

// member does for a party what only those may ask who have said hello, and replies.
func (e *Exchange) member(c *Call, act func(s *seat) error) {
	s := c.x.asker
	var err error
	e.mu.Lock()
	switch {
	case s.gone || e.closed:
		e.mu.Unlock()
		return
	case !s.joined:
		err = fault.New(fault.Usage, "%s comes before hello", c.x.op).WithFix("say hello first")
	default:
		err = act(s)
	}
	e.leave()
	c.Reply(nil, err)
}

// serveListen answers Listen.
func (e *Exchange) serveListen(c *Call) {
	e.member(c, func(s *seat) error {
		names, err := readOps(c)
		if err != nil {
			return err
		}
		for _, name := range names {
			switch {
			case s.listens[name]:
				continue
			case len(s.listens) >= listensMax || e.listening() >= globalMax:
				return fault.New(fault.TableFull, "%s listens to %d ops", s.p.Name, len(s.listens))
			}
			if err := e.write(s, kept.Record{Do: kept.DoListen, Op: name}); err != nil {
				return err
			}
			e.listen(s, name)
		}
		return nil
	})
}

// serveUnlisten answers Unlisten.
func (e *Exchange) serveUnlisten(c *Call) {
	e.member(c, func(s *seat) error {
		names, err := readOps(c)
		if err != nil {
			return err
		}
		for _, name := range names {
			if !s.listens[name] {
				continue
			}
			if err := e.write(s, kept.Record{Do: kept.DoUnlisten, Op: name}); err != nil {
				return err
			}
			e.unlisten(s, name)
		}
		return nil
	})
}

func readOps(c *Call) ([]string, error) {
	b, err := read[op.OpsBody](c)
	if err != nil {
		return nil, err
	}
	for _, name := range b.Ops {
		if !whom.Name(name, op.NameMax) {
			return nil, fault.New(fault.Usage, "an op has a name of at most %d bytes without control characters", op.NameMax)
		}
	}
	return b.Ops, nil
}

func (e *Exchange) listen(s *seat, name string) {
	s.listens[name] = true
	e.listens[name] = append(e.listens[name], s)
}

func (e *Exchange) unlisten(s *seat, name string) {
	delete(s.listens, name)
	if e.listens[name] = without(e.listens[name], s); len(e.listens[name]) == 0 {
		delete(e.listens, name)
	}
}

// listening is how many listens there are.
func (e *Exchange) listening() int {
	n := 0
	for _, list := range e.listens {
		n += len(list)
	}
	return n
}

// serveAddCommands answers AddCommands. A command of the same name is replaced.
func (e *Exchange) serveAddCommands(c *Call) {
	e.member(c, func(s *seat) error {
		list, err := readCommands(c)
		if err != nil {
			return err
		}
		for _, cmd := range list {
			was, had := s.commands[cmd.Name]
			switch {
			case had && was.Pattern == cmd.Pattern && was.Help == cmd.Help:
				continue
			case !had && (len(s.commands) >= commandsMax || e.commands >= globalMax):
				return fault.New(fault.TableFull, "there are %d commands, %d of them of %s", e.commands, len(s.commands), s.p.Name)
			}
			if err := e.write(s, kept.Record{Do: kept.DoOffer, Command: &cmd}); err != nil {
				return err
			}
			e.offer(s, cmd)
		}
		return nil
	})
}

// serveDelCommands answers DelCommands.
func (e *Exchange) serveDelCommands(c *Call) {
	e.member(c, func(s *seat) error {
		list, err := readCommands(c)
		if err != nil {
			return err
		}
		for _, cmd := range list {
			if _, had := s.commands[cmd.Name]; !had {
				continue
			}
			if err := e.write(s, kept.Record{Do: kept.DoWithdraw, Op: cmd.Name}); err != nil {
				return err
			}
			e.withdraw(s, cmd.Name)
		}
		return nil
	})
}

func readCommands(c *Call) ([]op.Command, error) {
	b, err := read[op.CommandsBody](c)
	if err != nil {
		return nil, err
	}
	for i, cmd := range b.Commands {
		b.Commands[i].Of = nil
		switch {
		case !whom.Name(cmd.Name, op.NameMax) || strings.ContainsAny(cmd.Name, " \"'"):
			return nil, fault.New(fault.Usage, "%q cannot be a command: it is one word of at most %d bytes", cmd.Name, op.NameMax)
		case len(cmd.Pattern) > patternMax || len(cmd.Help) > helpMax:
			return nil, fault.New(fault.Usage, "the pattern or help of %s is too long: at most %d and %d bytes", cmd.Name, patternMax, helpMax)
		}
	}
	return b.Commands, nil
}

func (e *Exchange) offer(s *seat, cmd op.Command) {
	if _, had := s.commands[cmd.Name]; !had {
		e.commands++
	}
	s.commands[cmd.Name] = cmd
}

func (e *Exchange) withdraw(s *seat, name string) {
	delete(s.commands, name)
	e.commands--
}

// Commands are those that parties who may be asked offer, by name; Of says who. One
// that is offered with several patterns is there once for each.
func (e *Exchange) Commands() []op.Command {
	type key struct{ name, pattern string }
	found := map[key]*op.Command{}
	e.mu.Lock()
	for _, s := range e.sorted() {
		if !s.available() {
			continue
		}
		for _, cmd := range s.commands {
			k := key{cmd.Name, cmd.Pattern}
			if found[k] == nil {
				found[k] = &cmd
			}
			found[k].Of = append(found[k].Of, s.p.Name)
		}
	}
	e.mu.Unlock()
	list := make([]op.Command, 0, len(found))
	for _, cmd := range found {
		cmd.Of = slices.Compact(cmd.Of)
		list = append(list, *cmd)
	}
	slices.SortFunc(list, func(a, b op.Command) int {
		if n := strings.Compare(a.Name, b.Name); n != 0 {
			return n
		}
		return strings.Compare(a.Pattern, b.Pattern)
	})
	return list
}
