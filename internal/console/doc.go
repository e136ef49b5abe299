// Package console reads commands and has them carried out: typed at a prompt, or
// piped into it, one a line. It is a view over the control API: what a command does
// is up to a Commander (the command line of muster) and an Agent.
//
//	keys ─► keyboard ─► line editor ─► line ─► words ─► own word?      exit, help, mute …
//	                        ▲                           muster's verb?  Commander.Run
//	events ─► live ─────────┘                           app's command?  Pattern, Agent.RunCommand
//
// # Rules
//
//   - The terminal is raw only while a line is typed. A command has it as any program
//     has: its output is its own, Ctrl-C is a signal, and ends the command, not the
//     console.
//   - Live lines are printed above the line that is being typed. While a command has
//     the terminal to itself (logs, exec …) they wait; of many, the latest.
//   - A word of muster's is never given to an application's command.
//   - Piped, the first command that fails ends it, with that command's exit code.
//     There is no prompt, no colour and nothing live.
//   - History is a file of mode 0600; a line with a secret in it is not kept.
//
// # Failures
//
// A command that fails shows its fault and leaves the console alive. A terminal that
// is gone, or a context that has ended, ends the console and puts the terminal back to
// what it was.
package console
