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
	s := resolve(app)
	if s.dealt(app) { // for what was written; its other listeners are those of any program
		return usualBalance(spec.NodeOff, l.Network)
	}
	return usualBalance(s.cluster(app), l.Network)
}

// Dealt says that the app's workers are no Node.js programs, as far as can be seen, and
// get connections from muster over their channel all the same: because of what is
// written, "balance: round-robin" for example. Such a program must know how to take
// them: package worker does.
func Dealt(app spec.App) (why string, ok bool) {
	if !resolve(app).dealt(app) {
		return "", false
	}
	if why = dealing(app); why == "" {
		why = "node: {cluster: on}"
	}
	return why, true
}

// dealt is Dealt of an app whose command has been looked through.
func (s serving) dealt(app spec.App) bool { return !s.isNode && s.cluster(app) == spec.NodeOn }

// dealing is what has muster give connections to the app's workers, in words; "":
// nothing that was written.
func dealing(app spec.App) string {
	for _, l := range app.Listen {
		if l.Balance.Deals() {
			return "balance: " + string(l.Balance) + " of the listener " + l.Name
		}
	}
	if app.Balance.Deals() {
		return "balance: " + string(app.Balance)
	}
	return ""
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
