// Package process starts, signals and waits for one OS process and everything
// that comes from it.
package process
