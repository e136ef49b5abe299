// Package processtest holds what tests of processes share: a conformance suite
// for every implementation of process.Starter and process.Store (Run), and a
// Starter without processes (Fake) for tests of pure time.
//
// A test package that runs the suite calls Setup first thing in TestMain: the
// suite's programs are the test binary itself, run again.
package processtest
