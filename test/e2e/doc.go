// Package e2e runs the built binary: one representative cell of each claim in
// test/show. The full lists are in test/soak (`make soak`).
package e2e
