// Package op is the vocabulary of operations: the frames by which processes of a
// project ask, answer and tell each other, the operations that muster itself knows,
// and what they carry. OPERATIONS.md beside it is the wire's own description.
//
// # Model
//
//	worker A ──MUSTER_OP──► exchange (agent) ──MUSTER_OP──► worker B
//	         ◄─MUSTER_REPLY─                 ◄─MUSTER_REPLY─
//
// A Frame with an ID wants a reply: exactly one MUSTER_REPLY without more, after any
// number with more. IDs are the asker's own: every channel numbers its requests for
// itself, growing, from the microseconds since 1970 when it was opened. Without a To
// the frame is for muster itself.
//
// # Failures
//
// A reply has an Error instead of a Body. Its Code is one of package fault, or what
// the other side's handler chose.
package op
