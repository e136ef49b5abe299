// Package lifecycle starts and stops the parts of a program.
//
// A Group runs parts (a server, a supervisor, a watcher), each a function that
// works until its context ends:
//
//	New → Start ── first essential part that returns ──┐
//	        │                                          ▼
//	        └──────────── Stop ──────────────► parts end in reverse order, one
//	                                           after the other, each bounded
//
// A part marked Restart is not essential: when it returns, it is started again in
// place after a growing pause, and reported; the others do not notice. A panic in
// a part is its error, with the stack.
//
// A Teardown is a stack of named functions for what is acquired outside of parts:
// each is registered on the line after acquiring, and they run last in first out.
//
// Both bear misuse: Stop before Start, twice, or from many goroutines does the
// work once, and every call returns when it is done, with the same error. A part
// that outlives its deadline is left behind and named in the error.
package lifecycle
