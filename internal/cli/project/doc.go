// Package project finds the project that a command is about, and says in its words
// why no agent answers.
//
// The project is that of --project, else of the configuration file (-c, or
// muster.yaml up the tree), else of an agent of this directory, else of the only
// agent that runs. Whether an agent runs is for the lock to say, and who runs what
// for the record beside it; both are of package agent.
package project
