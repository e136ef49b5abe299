// Package tree reads the text of muster.yaml into nodes: plain values with their
// places, free of everything that belongs to YAML or to variables.
//
//	bytes ─► YAML ─► converter ─► Node
//	                 aliases and << expanded, ${VAR} replaced, x-… dropped
//
// # Invariants
//
//   - A Node, its items and the values of its pairs are never nil; a nil root
//     means that there is nothing to work with, and why has been reported.
//   - No two pairs of a Node have the same key.
//   - Escape undoes what reading does to a text: ${ and $$ survive.
//   - The types of YAML play no part: yes, 010 and 1e3 are texts, and what they
//     mean is decided by the key they stand at.
//
// # Failures
//
// Every mistake is reported with its place, and reading goes on where it can:
// the wrong value is then empty. Aliases that contain themselves, 100,000 values
// with aliases expanded, and 64 levels of depth end the reading of what is
// inside. Nothing here panics, whatever the bytes (FuzzParse).
//
// Everything is a function of its arguments, without state.
package tree
