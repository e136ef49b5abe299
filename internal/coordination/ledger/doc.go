// Package ledger keeps what must outlive an agent and changes often: records are
// appended to a memory file that a Store holds.
//
// # Model
//
//	Append ─► memory file, held by the keeper ─► Each, in the next agent
//	Snapshot: a new file with the present state takes its place
//
// A Ledger has one writer: what two rooms keep goes into two ledgers. Its readers make
// of the records, in order, the state that they stand for; when Grown says that the file
// holds much that is outdated, the writer has Snapshot write the state anew.
//
// # The file
//
//	"MUSTLDG1"                                            8 bytes; the digit is the version
//	length of the record, little-endian                   4 bytes   ┐
//	CRC-32C of the length and the record, little-endian   4 bytes   │ for each record
//	the record                                            length    ┘
//
// # Invariants
//
//   - Kill -9 loses no Append that has returned: the file's pages are the kernel's.
//   - What Each shows is what was appended, from the first record on, without a gap:
//     where a record is torn or damaged the file ends, and what comes after is dropped
//     and counted (Dropped).
//   - Appends go on while a snapshot is written, and are in it: a record that says all about
//     a thing may stand before or behind the snapshot's own of that thing.
//   - A snapshot is there as a whole, or the file before is: the Store replaces one by
//     the other in one step.
//
// # Failures
//
// Append and Snapshot fail when there is no memory, or the Store fails. The file is then
// as before, and the caller does not do what it could not write down. A nil *Ledger
// keeps nothing and never fails. All methods are safe for concurrent use.
package ledger
