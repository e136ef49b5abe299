package spec

import "strings"

// Balances are the ways to balance, for messages.
func Balances() []string {
	return []string{
		string(BalanceAuto), string(BalanceShared), string(BalanceSlots),
		string(BalanceRoundRobin), string(BalanceLeast),
	}
}

// Deals says whether muster accepts the connections itself and gives them to
// workers.
func (b Balance) Deals() bool { return b == BalanceRoundRobin || b == BalanceLeast }

// Possible says whether listeners of a network can be balanced so: UDP is always
// shared, and only TCP sockets can be told apart into slots. A descriptor ("fd")
// may be of any kind.
func (b Balance) Possible(network string) bool {
	switch {
	case b == "" || b == BalanceAuto || b == BalanceShared:
		return true
	case strings.HasPrefix(network, "udp"):
		return false
	case b == BalanceSlots:
		return strings.HasPrefix(network, "tcp")
	}
	return true
}
