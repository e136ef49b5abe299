// Package tail reads a pipe and keeps the last of it.
package tail
