// Package limiter decides what a rate allows: token buckets in a bounded table.
//
// # Model
//
// A bucket holds Limit.Burst tokens at most and gains Limit.Rate of them in every
// Limit.Interval, evenly. Of each bucket one moment is kept: when it will be full
// again. A take moves it on by the time in which so many tokens come; it is allowed if
// that moment is then no further away than an empty bucket's. So the answer to "when?"
// is exact to the nanosecond, and a refusal moves nothing.
//
//	now ──────────── full again ──── empty bucket's
//	     what is missing        what is left
//
// Time is given with every question, since any moment that stays the same. There is
// no clock and no goroutine here. A Table is for one goroutine at a time.
//
// # Invariants
//
//   - In any span of time no more than Burst + Rate × time is allowed, and whoever
//     asks again after Taken.Wait is allowed, if nobody came in between.
//   - Another Limit for the same bucket keeps what is in it, in tokens: what was
//     missing is still missing, at most a whole new Burst. The time before the first
//     question with the new Limit counts by the old one.
//   - A bucket that is full is dropped when room is wanted: it is no different from a
//     new one. One that is not full is never dropped. (One that was filled early by a
//     larger rate may be kept until it would have been full without.)
//   - A clock that goes back by up to a second stands still for that time; by more, it
//     is a new clock, and buckets are at most empty by it.
//
// # Failures
//
// A Limit that makes no sense is E-USAGE and says what to write; a new bucket where
// all are in use is E-TABLE-FULL. Nothing has moved then.
package limiter
