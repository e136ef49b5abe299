// Package node shows what muster promises of unmodified Node.js programs
// (test/node/programs), each claim a cell that tests run: some in test/e2e, all in
// test/soak.
package node
