// Package thread is one thread of the operating system to run functions on. The
// kernel takes a process's parent to be the thread that forked it: what is to die
// with its parent must be forked by a thread that lives as long. (Go ends the
// threads of locked goroutines that return, and no other.)
package thread
