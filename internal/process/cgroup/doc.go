// Package cgroup gives each process a cgroup v2 of its own where the machine lets
// it. Nothing here may fail a start: what is not possible is missing from the
// Capabilities. Knowing and killing the members needs no controller; limiting
// CPU and memory does.
//
//	<root>/muster/p-<project>/p-<id>
package cgroup
