// Package config turns muster.yaml, `.env`, the environment and the flags of
// `muster run` into a spec.Spec with every default filled in, and says where
// each value came from.
//
// # How a file is read
//
//	find, read ─► bytes   files.go    where the file is, and its limits
//	tree.Parse ─► nodes   tree        YAML to plain values with places: aliases,
//	                                  merges and ${VAR} are resolved
//	root       ─► spec    root.go     nodes into apps over the defaults, by the
//	                                  tables of keys, and what depends on more
//	                                  than one key (finish)
//	Validate   ─► spec    Decoder.Add every other rule, put at its place
//
// # Rooms
//
//	config           which keys there are (app.go, root.go, listen.go, ports.go,
//	                 ready.go, health.go, depends.go, env.go), where files are
//	                 found, `muster run`; what is made from the tables: Show,
//	                 Schema, Reference
//	config/table     how a key is read, shown, described; problems and origins
//	config/tree      YAML and ${VAR}
//	config/envfile   files of NAME=value lines
//	config/cpus      what `workers: auto` stands for
//
// A field table is a function that binds keys to the variables they fill, each
// with a table.Value that can decode, show, and describe itself. The JSON schema,
// the reference and `config show` come from the same tables, so that they cannot
// drift from what Load accepts.
//
// # Invariants
//
//   - What Load returns has passed spec.Validate.
//   - What the user wrote is kept, also 0, false and "". The app's own keys win
//     over defaults; maps are merged key by key, lists are replaced.
//   - What Show prints (but for masked secrets) loads as the same spec.
//   - Reading never depends on the order of keys in a map, except that the first
//     port is PORT.
//   - Nothing outside of the file, its `.env` and the env_files is read, but for
//     the CPUs of `workers: auto`: whether users, directories and programs exist
//     is seen when a worker starts.
//
// # Failures
//
// All problems are reported at once, in the order of the file, as one
// *fault.Fault with code fault.Config; Problems gives them one by one. What
// follows only from another problem is not told. A file is at most 1 MiB, 100,000
// values with aliases expanded, 64 levels deep and 1,024 apps.
//
// But for those files everything here is a function of its arguments; there is
// no state, and all of it may be called from any goroutine.
package config
