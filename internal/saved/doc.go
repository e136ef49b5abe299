// Package saved keeps on disk what a project ran, so that it starts again after
// a reboot: the declaration, the sizes that `muster scale` has made, and which
// apps were stopped by hand.
//
// # Model
//
// A project has one file, saved.json in its state directory, and the version
// before it, saved.json.old. A Book is the agent's pen: it writes when something
// has changed. `muster save` and a start read and write the same file through
// Load and Update.
//
//	agent     Open -> Applied(what the file says) -> Keep(what runs) ... -> End
//	start     Load -> Project.Resume(what the file says now) -> what to run
//
// What is kept: with a configuration file always, and without the environment of
// the caller, which is the unit's or the shell's to give. Of `muster run` nothing,
// unless `muster save` asks for it: then all of it, with the environment, since
// nobody else knows it.
//
// # Invariants
//
//   - A reader finds the whole new file or the whole old one: it is written beside
//     its place, synced, renamed, and the directory is synced.
//   - The files are 0600: they hold what env: and env_file: say.
//   - Writers of one directory exclude each other (a lock on saved.lock), so that
//     a mark of `muster save` is not lost to the agent's next note.
//   - The number in muster.yaml wins as soon as it is another than at the time of
//     the scaling.
//
// # Failures
//
// All are faults with code E-SAVED. A file that is damaged (its checksum is
// wrong) is reported, and the version before it is used. What cannot be written
// leaves the last version in its place and nothing beside it.
package saved
