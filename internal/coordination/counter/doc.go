// Package counter counts under names.
//
// # Model
//
// A Table maps a name to a whole number of 64 bits. A name that nobody has used is 0,
// and a counter that is 0 takes no room: it is as if it had never been.
//
// # Failures
//
// A sum that does not fit, E-USAGE, and a new name in a full table, E-TABLE-FULL: the
// counter stays as it is. A Table is for one goroutine at a time.
package counter
