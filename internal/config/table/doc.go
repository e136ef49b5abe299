// Package table is the machinery behind the keys of muster.yaml: it fills
// variables from nodes by tables, and shows, describes and documents them from
// the same tables. What keys there are is the business of config.
//
//	          Field = key + Value + default + doc
//	                         │
//	Decode  node ─► variable │ Show    variable ─► text or YAML
//	Schema  for editors      │ Kind    the type's name in the reference
//
// A Value is bound to the one variable that it reads and shows, so a table is
// made anew for each thing that is read:
//
//	[]table.Field{
//		table.Key("dir", table.Text(&a.Dir, "a directory"), ".", "The working directory."),
//		table.Key("stop", table.Section(stopFields(&a.Stop)), "", "How a worker is ended."),
//	}
//
// # The Decoder
//
// It remembers three things while values are read: the problems, the place of
// each path ("apps.web.stop.timeout"), and the origin of each written value. In
// that way Add can put a problem that is found later, by a rule over many keys,
// where its path was written, and leave out what would only follow from another.
//
// # Invariants
//
//   - Decode is called only for a key that was written, and leaves the variable
//     alone (or empty) where it reports a problem.
//   - Show gives what Decode reads back as the same value.
//   - Whatever Decode takes, Schema takes; Schema may take more.
//   - Lists replace what is there; maps are merged into it key by key. So the
//     same table can be applied twice: first the defaults, then the app.
//
// # Failures
//
// None but problems, all of them collected in the Decoder, each with a place. A
// Decoder belongs to one goroutine.
package table
