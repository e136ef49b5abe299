// Package serve makes the processes that run a project: the keeper, and the agent
// that the keeper starts.
//
//	muster up, run   loads and checks the configuration, then *becomes* the keeper
//	                 (Start.Foreground) by executing itself: same pid, a new memory
//	muster up -d     starts the keeper apart from the terminal (Start.Background)
//	  muster keeper NAME --boot FD …   RunKeeper, called by main: no command line
//	    muster agent NAME              RunAgent, the keeper's child; started again
//	                                   by the keeper when it dies
//
// With --no-keeper the agent runs in the place of the keeper, and its workers end
// with it.
//
// # Boot
//
// What an agent has to know is a Boot: JSON in a memory file that the keeper keeps
// as record/boot. The first agent and every later one read the same Boot; a later
// one finds the records of the one before beside it and goes on from there.
//
// # Failures
//
// What is wrong with the configuration is told before anything is executed. The
// first agent of `up -d` tells its caller once, over a pipe, whether it serves;
// the pipe is kept by the keeper until then. An agent that cannot begin ends the
// keeper with its exit code when it is the first, and is started again when it is
// not: then there are workers to look after.
package serve
