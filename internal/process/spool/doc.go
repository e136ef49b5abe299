// Package spool keeps on disk what a process printed until somebody has recorded
// it elsewhere. The format, the bounds and the end of a spool are told in the
// documentation of package process.
package spool
