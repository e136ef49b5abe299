// Package cli is the command line: it parses, asks the agent (or becomes one),
// and prints.
//
// # Rules
//
//   - One file for each command. A command returns an error, and Run alone
//     prints it and turns it into an exit code (fault.ExitCode).
//   - Data goes to stdout, everything else to stderr. Each of the two decides
//     about colour for itself: a terminal, no NO_COLOR, TERM not "dumb".
//   - What takes longer than a second shows counts on stderr.
//   - A change of state says what changed and what to look at next.
//   - JSON is the stable interface: it is the API's own types. Tables are for
//     people and may change.
//
// # Which agent
//
// The project is found from the configuration file (-c, MUSTER_CONFIG, or
// muster.yaml up the tree), from --project, from an agent that `muster run`
// started in this directory, or from the only agent that runs; see package project.
//
// # Failures
//
// An agent that cannot be reached is E-AGENT-UNREACHABLE (exit code 5; so is one
// that went away while it carried out an order), or a
// plain "not running" (3) for `status` and `down`. Ctrl-C ends the command with
// 130 and leaves the order it gave to the agent.
package cli
