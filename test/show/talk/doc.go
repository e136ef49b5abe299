// Package talk are the cells about operations: the chat room of examples/chat as three
// apps, in Go, Node.js and Python, that talk to each other and share a limiter, a lock,
// a counter and a cache, while things are killed.
package talk
