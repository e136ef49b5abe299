// Package talk is what a command does with the agent while it waits: it tells of an
// order's progress, collects what workers answer to a message, and opens the
// debugger of a Node.js worker.
//
// Everything here reads the agent's events or a worker's output until it has what it
// waits for, or its context ends; nothing goes on after that. Failures are faults of
// the client, or of the workers that are asked.
package talk
