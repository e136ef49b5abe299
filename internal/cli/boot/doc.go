// Package boot is the start after a reboot on the command line: `muster startup`,
// `muster save`, and what `up --resume` and `up --saved` start.
//
// # Model
//
// A project has a systemd unit of its own. Its main process is muster itself
// (Type=notify), so that status, stop and journal are those of one project, and
// its ExecStart is `muster up --resume`: what the configuration says, with the
// sizes and the stops that were made by hand (see package saved). The unit holds
// no secret and only the environment without which it would not work.
//
// # Invariants
//
//   - A unit that muster did not write, or that was changed since, is replaced or
//     removed only with --force. The checksum in its first lines tells.
//   - What differs is shown before it is written.
//   - No command here stops a worker, but `--remove --now`.
//
// # Failures
//
// E-STARTUP where the unit cannot be written, enabled or started; E-CONFIG where
// the configuration would not load in the unit's environment; E-DENIED without
// the right to write units of the system.
package boot
