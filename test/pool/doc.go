// Package pool proves that a Go program that is a pool of itself (package muster) loses no
// request: with the test's own binary as the workers, under load.
package pool
