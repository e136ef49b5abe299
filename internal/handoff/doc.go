// Package handoff accepts connections on one thread of its own and deals them to
// workers.
package handoff
