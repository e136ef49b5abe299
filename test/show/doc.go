// Package show holds what muster must show: each function puts one claim to the
// proof with the built binary and real programs, fails the test if it does not
// hold, and returns the figures that it measured in one line.
//
// `make test` runs one representative cell of each (test/e2e), `make soak` all
// of them (test/soak).
package show
