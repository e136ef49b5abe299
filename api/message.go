package api

import "encoding/json"

// MessageMax is the longest message that can be sent to workers, in bytes.
const MessageMax = 1 << 20

// Message is the body of POST /v1/message.
type Message struct {
	// Selector: "web", "web#2", "tag:edge", "role:worker", "all", or a glob.
	Selector string `json:"selector"`
	// Message is any JSON value of at most MessageMax bytes. Its bytes reach the
	// worker unchanged, but that a line end between two values becomes a space.
	Message json.RawMessage `json:"message"`
}
