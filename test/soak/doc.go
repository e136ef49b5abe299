// Package soak runs the full lists behind README's claims and prints a closing
// table with the figures: `make soak`. It is behind the build tag soak, because
// it takes the better part of an hour.
package soak
