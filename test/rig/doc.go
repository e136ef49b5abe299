// Package rig sets up what end-to-end tests stand on: the built binary, a
// project with directories of its own, releases that can be switched, free
// addresses, and a look at which processes are left.
//
// A test package calls Main from its TestMain. Projects share nothing: each has
// its own state and runtime directory, its own loopback address, and a mark in
// the environment of everything that it starts, by which the end of the test
// finds what was left behind, and kills it.
package rig
