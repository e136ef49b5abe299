package primitives

import (
	"encoding/binary"
	"math"

	"github.com/muster-run/muster/internal/coordination/limiter"
	"github.com/muster-run/muster/internal/coordination/lock"
)

// A record of the ledger begins with the party whose call it is about ("": none), the
// call's ID and its answer; then comes what changed: its kind, and its values. Texts have
// their length before them, numbers are varints. Kinds and values are only ever added: a
// reader passes over what it does not know.
const (
	kindNone     = iota
	kindBucket   // name, key, full, frac, bits of perToken
	kindCounter  // name, value
	kindHeld     // name, token, party, owner, fence, until
	kindReleased // name, fence
	kindGone     // party
	kindUse      // party, cache
	kindFence    // fence
)

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendHead(b []byte, party string, id int64, reply []byte) []byte {
	b = appendText(b, party)
	if party == "" {
		return b
	}
	b = binary.AppendVarint(b, id)
	return append(binary.AppendUvarint(b, uint64(len(reply))), reply...)
}

func appendBucket(b []byte, id limiter.ID, s limiter.State) []byte {
	b = appendText(appendText(append(b, kindBucket), id.Name), id.Key)
	b = binary.AppendVarint(b, s.Full)
	b = binary.LittleEndian.AppendUint64(b, s.Frac)
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(s.PerToken))
}

func appendCounter(b []byte, name string, value int64) []byte {
	return binary.AppendVarint(appendText(append(b, kindCounter), name), value)
}

func appendHeld(b []byte, s lock.State) []byte {
	b = append(b, kindHeld)
	for _, text := range [...]string{s.Name, s.Token, s.Party, s.Owner} {
		b = appendText(b, text)
	}
	return binary.AppendVarint(binary.AppendUvarint(b, s.Fence), int64(s.Until))
}

func appendReleased(b []byte, name string, fence uint64) []byte {
	return binary.AppendUvarint(appendText(append(b, kindReleased), name), fence)
}

func appendGone(b []byte, party string) []byte { return appendText(append(b, kindGone), party) }

func appendUse(b []byte, party, cache string) []byte {
	return appendText(appendText(append(b, kindUse), party), cache)
}

func appendFence(b []byte, fence uint64) []byte {
	return binary.AppendUvarint(append(b, kindFence), fence)
}

// record is one that is read. Once it is bad, it yields zeros.
type record struct {
	rest []byte
	bad  bool
}

// cut takes n bytes off.
func (r *record) cut(n uint64) []byte {
	if r.bad || n > uint64(len(r.rest)) {
		r.bad = true
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *record) unsigned() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.bad = true
	}
	if r.bad {
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *record) signed() int64 {
	u := r.unsigned() // zigzag, as binary.AppendVarint has it
	return int64(u>>1) ^ -int64(u&1)
}

func (r *record) fixed() uint64 {
	if b := r.cut(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *record) text() string { return string(r.cut(r.unsigned())) }

func (r *record) kind() byte {
	if b := r.cut(1); b != nil {
		return b[0]
	}
	return kindNone
}
