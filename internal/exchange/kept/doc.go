// Package kept is what the exchange writes down of parties, for the next agent.
//
// # Model
//
//	Record ─► ledger ─► Table.Read ─► Party: hello, subscriptions, listens, commands
//
// A Record is one line of JSON. The first of a party is its hello; a DoGone ends it.
//
// # Failures
//
// Records that cannot be read, that say what this version does not know, or that speak
// of a party without a hello are passed over.
package kept
