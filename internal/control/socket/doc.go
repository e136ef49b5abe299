// Package socket binds the control socket: who may reach it, and what an agent before
// has left of it.
package socket
