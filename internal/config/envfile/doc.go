// Package envfile reads files of NAME=value lines: `.env` and those of env_file.
//
// The form is the common part of what shells, Docker and systemd read, without
// expansion: a `$` is a `$`. A wrong line is reported with its number and does
// not keep the others from being read.
//
// # Invariants
//
// Every Assignment has a name that a process can have in its environment: not
// empty, without = and blanks; neither it nor the value holds a NUL byte, both
// are UTF-8. Names may repeat; the last one counts for whoever asks.
package envfile
