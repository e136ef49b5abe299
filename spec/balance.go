package spec

import (
	"fmt"
	"strings"
)

// Balances are the ways to balance, for messages.
func Balances() []string {
	return []string{string(BalanceAuto), string(BalanceShared), string(BalanceSlots), string(BalanceRoundRobin), string(BalanceLeast)}
}

// Deals says whether muster accepts the connections itself and gives them to
// workers.
func (b Balance) Deals() bool { return b == BalanceRoundRobin || b == BalanceLeast }

// Possible says whether listeners of a network can be balanced so: UDP is always
// shared, and only TCP sockets can be told apart into slots. A descriptor ("fd")
// may be of any kind.
func (b Balance) Possible(network string) bool {
	if b == BalanceSlots {
		return strings.HasPrefix(network, "tcp")
	}
	return !b.Deals() || !strings.HasPrefix(network, "udp")
}

// check refuses unknown words, and what cannot be for a network ("" for an app:
// there it counts only for the listeners that it can be for).
func (b Balance) check(c check, network string) {
	before := len(*c.problems)
	if b != "" {
		c.oneOf("balance", string(b), Balances()...)
	}
	switch {
	case network == "" || len(*c.problems) > before || b.Possible(network):
	case strings.HasPrefix(network, "udp"):
		c.add("balance", "write shared, or remove it", "%s is not possible: UDP has no connections to deal, its socket is always shared", b)
	case network == "unix":
		c.add("balance", "write shared, or round-robin for a Node.js program or one with muster's package worker", "slots are not possible: the kernel spreads connections over several sockets for TCP only, a UNIX socket's file is one")
	default:
		c.add("balance", "write shared, or listen on the address itself", "slots are not possible: muster was given this one socket and cannot add others to it")
	}
}

// checkNode looks at what is for Node.js programs, as far as it can be told
// without looking at the command.
func (a App) checkNode(c check) {
	a.Balance.check(c, "")
	cluster := a.Node.Cluster
	if cluster != "" {
		c.oneOf("node.cluster", string(cluster), string(NodeAuto), string(NodeOn), string(NodeOff), string(NodeDelegate))
	}
	if a.Type == Task && (cluster == NodeOn || cluster == NodeDelegate) {
		c.add("node.cluster", "remove it", "a task runs once, so it is no worker of a cluster")
	}
	if cluster != NodeOff {
		return
	}
	off := func(field string, b Balance) {
		if b.Deals() {
			c.add(field, "write slots or shared, or remove node.cluster", "%s gives connections to workers over their channel, but node.cluster is off", b)
		}
	}
	off("balance", a.Balance)
	for i, l := range a.Listen {
		off(fmt.Sprintf("listen[%d].balance", i), l.Balance)
	}
}
