// Package keyed lets programs on this host that cannot use the control socket stop and
// restart apps by HTTP, with the session key: control.listen in muster.yaml.
//
//	POST /v1/stop HTTP/1.1             Options.API, which is the control server's own
//	Host: 127.0.0.1:9009        ─►     answer to these few routes; what it carries
//	Authorization: Bearer KEY          out is told as an order of "session key"
//
// # Invariants
//
//   - Nothing is read of a request but its header before the key was right.
//   - The key is compared in constant time, and stands in no answer, log or event.
//   - A page in a browser gets nowhere: a request with an Origin, or whose Host is no
//     name of this host (DNS rebinding), is refused, whatever its key.
//   - Whoever has the key is never kept waiting by those who guess: refusals are
//     delayed, so many at a time at most, and what comes above that is refused at once;
//     and connections that say nothing make room for others.
//
// # Failures
//
// A Server that cannot accept any more ends that listener and tells by Options.Warn;
// Serve on another one goes on. Refusals are counted, and told once a minute.
package keyed
