// Package step is the part of a start that runs in the new process: this program
// itself, started as Arg, reads a Plan, sets what only the process can set for
// itself (cgroup, limits, identity, umask, LISTEN_PID), and becomes the program.
// Package process tells how it fits in.
package step
