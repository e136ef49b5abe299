package launch

import (
	"cmp"
	"strings"

	"github.com/muster-run/muster/spec"
)

// BalanceOf is how the connections of a listener of the app get to its workers:
// what was written for it, else for the app, else (and for auto) what suits the
// program. What is written for the app counts only where it can be: UDP is always
// shared, and a UNIX socket has no slots. l may be one that a Node.js worker asks
// for while it runs. It is never BalanceAuto.
func BalanceOf(app spec.App, l spec.Listener) spec.Balance {
	own := cmp.Or(l.Balance, app.Balance)
	if own != "" && own != spec.BalanceAuto && own.Possible(l.Network) {
		return own
	}
	return usualBalance(ClusterOf(app), l.Network)
}

// usualBalance is what suits a program: a UNIX socket cannot be told apart into
// slots, forks of a program's own are no slots, and a program that only knows
// LISTEN_FDS, and may take one request at a time, is best served by whoever is idle.
func usualBalance(cluster spec.NodeCluster, network string) spec.Balance {
	tcp, unix := strings.HasPrefix(network, "tcp"), network == "unix"
	switch {
	case cluster == spec.NodeOn && tcp:
		return spec.BalanceSlots
	case cluster == spec.NodeOn && unix, cluster == spec.NodeDelegate && (tcp || unix):
		return spec.BalanceRoundRobin
	}
	return spec.BalanceShared
}

// counts says whether a worker must tell how many connections it has open.
func counts(app spec.App) bool {
	least := app.Balance == spec.BalanceLeast
	for _, l := range app.Listen {
		least = least || l.Balance == spec.BalanceLeast
	}
	return least
}
