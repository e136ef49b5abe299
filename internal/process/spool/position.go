package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// positionSize is the length of the position file: it never changes, so that an
// overwritten one needs no space on a full disk.
const positionSize = 51

// place is how far a spool is committed: all before pos, and of what is behind
// it the first bytes of each stream.
type place struct {
	pos  int64
	skip [2]int64
}

// later is the further one of two places.
func (p place) later(q place) place {
	switch {
	case q.pos > p.pos:
		return q
	case q.pos == p.pos:
		return place{p.pos, [2]int64{max(p.skip[0], q.skip[0]), max(p.skip[1], q.skip[1])}}
	}
	return p
}

// within moves a place that lies outside of what a spool holds to its nearest end.
func (p place) within(from, to int64) place {
	if pos := min(max(p.pos, from), to); pos != p.pos {
		return place{pos: pos}
	}
	return p
}

// loadPosition reads the committed place; the beginning when it is not readable.
// An earlier release wrote the position alone.
func (s *Spool) loadPosition() place {
	text, err := os.ReadFile(filepath.Join(s.dir, positionFile))
	if err != nil {
		return place{}
	}
	var n []int64
	for _, word := range strings.Fields(string(text)) {
		v, err := strconv.ParseInt(word, 16, 64)
		if err != nil || v < 0 {
			break
		}
		n = append(n, v)
	}
	switch len(n) {
	case 0:
		return place{}
	case 3:
		return place{n[0], [2]int64{n[1], n[2]}}
	}
	return place{pos: n[0]}
}

// savePosition overwrites the position file in one write: a killed writer leaves
// the old one or the new one.
func (s *Spool) savePosition() error {
	f, err := os.OpenFile(filepath.Join(s.dir, positionFile), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("%016x %x %x", s.committed, s.skip[0], s.skip[1])
	_, err = f.WriteAt(fmt.Appendf(nil, "%-*s\n", positionSize-1, text), 0)
	return errors.Join(err, f.Close())
}
