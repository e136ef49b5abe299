// Package output turns what workers print into records and keeps them: in
// memory, in files (or journald, or syslog), and on their way to followers.
//
//	Source ─ Attachment (splits lines) ─┬─ ring of each slot ─ Last, Read
//	  ▲ Commit                          ├─ followers
//	  └──────── written ──── writer ────┴─ queue ─ file │ journald │ syslog
//
// There is one Log per app, one Attachment per process, and one writer
// goroutine per Log that owns the target.
//
// # Lines
//
// A line ends with \n; one \r before it is removed. A line longer than LineMax
// bytes becomes several records of at most LineMax bytes, cut between
// characters; all but the last of them carry Cut ("it goes on in the next record
// of this worker and stream"), so nothing is lost and the line can be put
// together again. An unfinished line is held back until it is finished, too
// long, or its process has ended; a prompt without a newline is not shown before.
// Bytes that are no UTF-8 stay as they are in memory and in text files and become
// U+FFFD in JSON. Colour codes are kept everywhere.
//
// # What is promised
//
//   - Order: the records of one stream keep their order; those of an app are
//     ordered as they were read. Files, memory and followers agree on it.
//   - A Source is committed only after its records were written to the target's
//     descriptor, and only up to the last whole line of each stream. With an
//     Intent (package intent) each line is in the log file exactly once however
//     the agent ends, kill -9 included; the next one goes on in the middle of a
//     line, too. Without one, and in journald and syslog, what was written last
//     (at most 100 ms or 256 KiB of a worker) is recorded again.
//   - An unfinished line keeps what is behind it in the Source. When that is 4 MiB,
//     the line is recorded as far as it goes, marked Cut, so that the worker need
//     not wait. A LineMax above that does not help.
//   - A worker never waits for a follower, and for a target only as long as the
//     target makes progress. When it fails or stands still for a second, records
//     wait in memory (4 MiB an app); when 4 MiB of the source wait, too, or it ends, it
//     is committed all the same (an agent that is killed then loses them);
//     what does not fit is dropped from the target (not from memory and followers)
//     and counted in one line "muster: 12 lines lost: no space left on device".
//   - A follower that reads too slowly misses records; the next one says how many.
//   - Files are 0600 in directories made 0700, opened with O_APPEND, written in
//     whole records, and reopened when they were moved, deleted or truncated from
//     outside. They are rotated by size to FILE-TIME and compressed by their Packing,
//     to FILE-TIME.zst, in the background. A line that an earlier agent left torn is
//     closed with a newline and skipped by readers.
package output
