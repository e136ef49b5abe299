// Package metrics tells Prometheus what the agent knows.
//
// A registry of its own holds three things: a collector that asks for the status
// at each scrape (nothing is counted twice, nothing goes stale), counters fed by
// the events of a Hub, and the process_* metrics of the agent itself.
//
// Labels are project, node, app and slot; never a pid, which would make a new
// series of every restart. During a reload a slot has two workers: the one that
// will stay is the one reported, which is the latest generation.
//
// Every metric is declared once, in the table of descriptors, from which the
// collector and Reference are made.
package metrics
