// Package client talks to a muster agent over its control socket: the Go form
// of the HTTP API, one method per route.
//
// Model: a Client is cheap and holds no connection; every call opens one, asks,
// and closes it, so that nothing goes stale between two calls. Orders return
// when the agent has carried them out. Logs and Events run until their context
// ends, the callback returns an error, or the agent ends.
//
// Failures are *fault.Fault (errors.As): E-AGENT-UNREACHABLE when nobody
// listens or the agent ended before it answered, E-DENIED when the socket or
// the agent refuses this user, E-TIMEOUT and E-INTERRUPTED when the context
// ended (what was ordered goes on), else what the agent itself said. For orders
// the error only says whether there is an answer; what came of the order is in
// it (api.Outcome.Fault).
//
// A Client may be used by many goroutines.
package client
