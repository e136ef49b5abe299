// Package record is what a Supervisor writes down of its pools so that another
// one can go on where it was: the types, their text form, and how a record is
// put together cheaply.
//
//	record/supervisor        Supervisor: what is declared beside the apps
//	record/pool/APP          Pool: everything of one app but what its releases run
//	record/releases/APP      Releases: what they run, by the keys that Pool uses
//
// # Order
//
// The releases that a pool's record names are written before it; those that none
// names any more leave with the next new one. So whatever pair of records a
// reader finds, every key of the one is in the other.
//
// # Versions
//
// The text is JSON with a version number. An older and a newer release of muster
// read each other's records: fields are only ever added, never given another
// meaning, and a reader passes over what it does not know. The number tells
// people; nothing is refused for it. testdata holds a record of each version.
package record
