// Package intent notes what is about to be written to a log file, so that after a
// kill -9 it is known to the byte what was.
//
//	Plan each record ─ Begin ─ write(2) ─ Done each record ─ commit the sources
//	                     ▲        ▲          ▲                  ▲
//	      killed here:   │undone  │completed or undone          │committed again
//
// A source (what one process printed) is read, recorded and committed, in this
// order. What is recorded and not committed would be recorded twice by the next
// agent, so each note tells how far every such source is, before and after the
// write; the next agent commits the sources to there before it reads on.
//
// # Which of the two
//
// A note names the file by device and inode and has its size before and after the
// write. Open compares: at least the size after → the write was completed.
// Between → it was not: the file is truncated to the size before, up to which it
// has whole records. A file that is gone, or shorter than before, was rotated or
// truncated since then: completed. (In a file that somebody else appends to at
// that very moment a line may be lost or doubled.)
//
// # The file
//
// It is a memory file in a Store that outlives the agent: it survives the agent's
// death, not the machine's, as the sources do. A note:
//
//	0  8 bytes "MUSTLOG1"
//	8  uint64  number, each is one more than the last
//	16 uint32  length of the text
//	20 uint32  CRC-32 (IEEE) of bytes 0 to 19 and the text
//	24         text: unsigned varints, strings with their length before them:
//	           path, device, inode, before, after, count of sources, and for each
//	           id, 0, position and skips before, position and skips after
//
// Notes are written in turn to two regions of 64 KiB, or to the first of the
// larger pairs behind them (128, 256 KiB, …) where they fit, never over the newest
// one. The newest whole one counts.
//
// A place whose source nobody meets is kept until an agent has lived for a minute.
package intent
