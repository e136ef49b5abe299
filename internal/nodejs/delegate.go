package nodejs

import (
	"bytes"
	_ "embed"
)

//go:embed delegate.cjs
var delegate []byte

// Delegate is the text of the CommonJS file that a program which calls cluster.fork()
// itself loads before its own code, so that muster starts its forks: see
// PROTOCOL-delegate.md. The caller may change what it gets.
func Delegate() []byte { return bytes.Clone(delegate) }
