package peer

import "github.com/muster-run/muster/peer/internal/solo"

// Alone makes a Peer without muster: the primitives and what is published stay within
// the process, and what needs others fails with E-ALONE.
func Alone(o Options) *Peer { return New(solo.New(o.App), o) }
