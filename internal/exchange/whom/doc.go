// Package whom reads whom a frame is for: package api's selectors of workers, and
// client:NAME.
//
// "all", and globs over apps, mean no clients: those are no workers. A text may name
// both, with commas between them.
package whom
