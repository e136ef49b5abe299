// Command bench measures muster beside PM2 and supervisor in one run, on this
// machine, with the same workers, taking turns: `make bench`. It prints one
// table with medians and ratios and writes nothing into the tree.
//
// Each peer is set up the way its documentation recommends for the job: PM2 in
// cluster mode with a kill timeout of 30 s, supervisor with an fcgi-program
// group, which is its only way to share a socket.
package main
