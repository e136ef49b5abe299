// Package pattern reads the words behind the name of a command that an application
// offers to consoles, by the pattern that it gave: which words there are, and of which
// types.
//
// # Invariants
//
// A Pattern fits a whole line or not at all, and what it gives survives JSON (Typed).
//
// # Failures
//
// E-USAGE, with the word that does not fit and what was expected in its place.
package pattern
