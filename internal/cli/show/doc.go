// Package show turns what the agent tells into text for people: tables that fit a
// terminal, lifecycle lines, reasons, colours; and into YAML and JSON lines for
// programs. It asks nobody and decides nothing; it imports the wire types only.
package show
