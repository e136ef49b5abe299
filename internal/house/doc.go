// Package house holds the rules of the house as tests: which package may import
// which, what must be documented, how long things may get, which words are not
// used, and how big the binary is. It has no code of its own; its tests read
// the source tree.
//
// Each rule is a function from a tree to the list of its violations, so that
// rules_test.go can show, on small made-up trees, that every rule finds what it
// is there to find. An exception stands beside its rule, with the reason.
package house
