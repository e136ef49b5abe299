// Package dealt proves that a Go program with package worker takes the connections that
// muster deals (balance: round-robin, least-connections): with the built binary, and the
// test's own binary as the worker.
package dealt
