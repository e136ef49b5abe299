// Package dealt shows what muster promises of Go programs that take connections with package
// worker, under muster and as a pool of themselves (package muster), each claim a cell that
// tests run: some in test/e2e, all in test/soak. The worker is the program of the test
// itself: its TestMain asks IsWorker first.
package dealt
