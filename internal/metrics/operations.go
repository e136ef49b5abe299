package metrics

import (
	"maps"
	"slices"
)

// Operations is what the processes of a project ask of each other and of muster. Counts
// are since the agent was started.
type Operations struct {
	// Parties take part or could, Joined of them have said hello.
	Parties, Joined int
	// InUse is how much there is now, by kind: subscriptions, requests, locks …
	InUse map[string]int
	// Ended is requests by outcome, Heard what parties sent by what became of it, Sent
	// what was sent to them.
	Ended, Heard, Sent map[string]uint64
	// Damaged is how many bytes of what an earlier agent left could not be read.
	Damaged int64
}

// The metrics of operations and notifiers.
const (
	parties       = "muster_parties"
	opsInUse      = "muster_operations_in_use"
	requests      = "muster_requests_total"
	opsHeard      = "muster_operations_heard_total"
	opsSent       = "muster_operations_sent_total"
	ledgerDamaged = "muster_ledger_damaged_bytes"
	notifications = "muster_notifications_total"
)

// operationsTable declares them.
func operationsTable() []metric {
	return []metric{
		{parties, "Workers and clients: present, and those of them that have joined (said hello), so that others can ask them.", gauge, []string{"state"}},
		{opsInUse, "What is in use now: subscriptions, listens and commands; requests under way; limiters (one for each key), locks that are held and those who wait for one, counters that are not 0, and uses of caches.", gauge, []string{"kind"}},
		{requests, "Requests to workers and clients by how they ended: answered, refused (nobody was there to ask, too much waits for it, ...), deadline, cancelled by the asker, gone (who was asked had ended).", counter, []string{"outcome"}},
		{opsHeard, "Frames of workers and clients: all that were heard; of these served by muster itself, published to a channel (what muster publishes too), bad (not to be understood), failed (inside muster itself), unknown (nobody is there to deal with it), late (a reply that nobody waited for any more), and doubtful (perhaps heard twice, as the agent before was killed).", counter, []string{"kind"}},
		{opsSent, "Frames to workers and clients: passed on from others, received (places where something published or told arrived), replies, missed (there was no room at a receiver, who is told), lost (no room for a reply, or the receiver was gone).", counter, []string{"kind"}},
		{ledgerDamaged, "Bytes of what the agent before had written down for this one that could not be read.", gauge, nil},
		{notifications, "Notifications by notifier and outcome: delivered, failed, or held back as there were too many.", counter, []string{"notifier", "outcome"}},
	}
}

// operations sends what processes ask of each other.
func (w *scrape) operations(o Operations) {
	w.send(parties, float64(o.Parties), "present")
	w.send(parties, float64(o.Joined), "joined")
	for _, kind := range slices.Sorted(maps.Keys(o.InUse)) {
		w.send(opsInUse, float64(o.InUse[kind]), kind)
	}
	w.counts(requests, o.Ended)
	w.counts(opsHeard, o.Heard)
	w.counts(opsSent, o.Sent)
	w.send(ledgerDamaged, float64(o.Damaged))
}

// counts sends one counter by its last label.
func (w *scrape) counts(name string, byLabel map[string]uint64) {
	for label, n := range byLabel {
		w.send(name, float64(n), label)
	}
}
