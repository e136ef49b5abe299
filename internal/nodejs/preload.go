package nodejs

import (
	"bytes"
	_ "embed"
)

//go:embed preload.cjs
var preload []byte

// Preload is the text of the CommonJS file that a Node.js worker loads before its own
// program (--require in NODE_OPTIONS). In a worker that has muster's channel it drains
// keep-alive connections, HTTP/2 sessions and WebSockets when muster asks it to
// disconnect, and lets a script end that has nothing more to do; in every other process
// it does nothing. The caller may change what it gets.
func Preload() []byte { return bytes.Clone(preload) }
