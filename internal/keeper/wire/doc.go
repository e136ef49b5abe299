// Package wire holds the frames between an agent and its keeper, and turns what
// they carry into the values of package process and back. PROTOCOL.md, beside the
// package keeper, says what they mean. It decodes; it trusts nothing it decodes,
// and judges nothing.
package wire
