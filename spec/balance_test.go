package spec

import "testing"

func TestPossible(t *testing.T) {
	for _, tt := range []struct {
		b    Balance
		yes  []string
		deny []string
	}{
		{"", []string{"tcp", "udp", "unix", "fd"}, nil},
		{BalanceAuto, []string{"tcp", "udp4", "unix", "fd"}, nil},
		{BalanceShared, []string{"tcp", "udp6", "unix", "fd"}, nil},
		{BalanceSlots, []string{"tcp", "tcp4", "tcp6"}, []string{"udp", "unix", "fd"}},
		{BalanceRoundRobin, []string{"tcp", "tcp4", "tcp6", "unix", "fd"}, []string{"udp", "udp4", "udp6"}},
		{BalanceLeast, []string{"tcp", "unix", "fd"}, []string{"udp"}},
	} {
		for _, network := range tt.yes {
			if !tt.b.Possible(network) {
				t.Errorf("%q is possible for %s", tt.b, network)
			}
		}
		for _, network := range tt.deny {
			if tt.b.Possible(network) {
				t.Errorf("%q is not possible for %s", tt.b, network)
			}
		}
		if deals := tt.b == BalanceRoundRobin || tt.b == BalanceLeast; tt.b.Deals() != deals {
			t.Errorf("%q deals: %v", tt.b, !deals)
		}
	}
}

func TestNodeRules(t *testing.T) {
	try(t, []rule{
		{func(_ *Spec, a *App) { a.Balance = "robin" }, ".balance", `"robin" is not possible`},
		{func(_ *Spec, a *App) { a.Balance = "slot" }, ".balance", `did you mean "slots"?`},
		{func(_ *Spec, a *App) { a.Balance = "best" }, ".balance", "write auto, shared, slots, round-robin or least-connections"},
		{func(_ *Spec, a *App) { a.Listen[0].Balance = "best" }, ".listen[0].balance", "round-robin or least-connections"},
		{func(_ *Spec, a *App) {
			a.Listen[0] = Listener{Name: "u", Network: "unix", Address: "/x", Mode: 0o600, Balance: BalanceSlots}
		}, ".listen[0].balance", "for TCP only"},
		{func(_ *Spec, a *App) {
			a.Listen[0] = Listener{Name: "u", Network: "udp", Address: ":53", Balance: BalanceSlots}
		}, ".listen[0].balance", "always shared"},
		{func(_ *Spec, a *App) {
			a.Listen[0] = Listener{Name: "u", Network: "udp4", Address: ":53", Balance: BalanceLeast}
		}, ".listen[0].balance", "always shared"},
		{func(_ *Spec, a *App) {
			a.Listen[0] = Listener{Name: "u", Network: "fd", Address: "3", Balance: BalanceSlots}
		}, ".listen[0].balance", "given this one socket"},
		{func(_ *Spec, a *App) { a.Node.Cluster = "yes" }, ".node.cluster", "write auto, on, off or delegate"},
		{func(s *Spec, a *App) {
			s.Apps[0].Type, s.Apps[0].Restart.Policy, s.Apps[0].Node.Cluster = Task, RestartNever, NodeOn
			a.DependsOn = nil
		}, "apps.db.node.cluster", "a task runs once"},
		{func(_ *Spec, a *App) { a.Node.Cluster, a.Balance = NodeOff, BalanceLeast }, ".balance", "node.cluster is off"},
		{func(_ *Spec, a *App) {
			a.Node.Cluster, a.Listen[0].Balance = NodeOff, BalanceRoundRobin
		}, ".listen[0].balance", "node.cluster is off"},
		{func(_ *Spec, a *App) { a.Stop.Message = string(make([]byte, 5000)) }, ".stop.message", "too many"},
		{func(_ *Spec, a *App) { a.Env = map[string]string{"NODE_CHANNEL_FD": "3"} }, ".env.NODE_CHANNEL_FD", "muster sets"},
		{func(_ *Spec, a *App) { a.Env = map[string]string{"NODE_UNIQUE_ID": "3"} }, ".env.NODE_UNIQUE_ID", "muster sets"},
		{func(_ *Spec, a *App) {
			a.Env = map[string]string{"NODE_CHANNEL_SERIALIZATION_MODE": "advanced"}
		}, ".env.NODE_CHANNEL_SERIALIZATION_MODE", "are JSON"},
	})
	for name, change := range map[string]func(a *App){
		"all of the app":  func(a *App) { a.Balance, a.Node.Cluster = BalanceRoundRobin, NodeDelegate },
		"slots, off":      func(a *App) { a.Balance, a.Node.Cluster = BalanceSlots, NodeOff },
		"slots and unix":  func(a *App) { a.Balance, a.Listen[0].Network, a.Listen[0].Address = BalanceSlots, "unix", "/x" },
		"of the listener": func(a *App) { a.Listen[0].Balance = BalanceLeast },
		"json":            func(a *App) { a.Env = map[string]string{"NODE_CHANNEL_SERIALIZATION_MODE": "json"} },
		"a message":       func(a *App) { a.Stop.Message = "shutdown" },
	} {
		s := sound()
		change(&s.Apps[1])
		if problems := s.Validate(); problems != nil {
			t.Errorf("%s: %v", name, problems)
		}
	}
}
