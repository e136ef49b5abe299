package spool

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"
)

const (
	// chunkHead is the size of a chunk's header; see doc.go for its fields.
	chunkHead = 20
	// chunkMax is the most data one chunk carries.
	chunkMax = 64 << 10
	// chunkMark is a chunk's first byte.
	chunkMark = 0xC5
)

// errTorn says that no whole chunk is at this place.
var errTorn = errors.New("torn chunk")

// chunk is what one read of a pipe returned.
type chunk struct {
	stream int
	at     time.Time
	data   []byte
}

// size on disk.
func (c chunk) size() int64 { return chunkHead + int64(len(c.data)) }

// head encodes the header.
func (c chunk) head() [chunkHead]byte {
	var h [chunkHead]byte
	h[0], h[1] = chunkMark, byte(c.stream)
	binary.LittleEndian.PutUint32(h[4:], uint32(len(c.data)))
	binary.LittleEndian.PutUint64(h[8:], uint64(c.at.UnixNano()))
	sum := crc32.Update(crc32.ChecksumIEEE(h[:16]), crc32.IEEETable, c.data)
	binary.LittleEndian.PutUint32(h[16:], sum)
	return h
}

// need is how many bytes the chunk at the beginning of b has: at least
// chunkHead. errTorn: it is none.
func need(b []byte) (int, error) {
	if len(b) < chunkHead {
		return chunkHead, nil
	}
	n := binary.LittleEndian.Uint32(b[4:])
	if b[0] != chunkMark || b[1] != 1 && b[1] != 2 || n == 0 || n > chunkMax {
		return 0, errTorn
	}
	return chunkHead + int(n), nil
}

// decodeChunk reads the chunk that b holds exactly. Its data is part of b.
func decodeChunk(b []byte) (chunk, error) {
	n, err := need(b)
	if err != nil || n != len(b) || n == chunkHead {
		return chunk{}, errTorn
	}
	sum := crc32.Update(crc32.ChecksumIEEE(b[:16]), crc32.IEEETable, b[chunkHead:])
	if sum != binary.LittleEndian.Uint32(b[16:]) {
		return chunk{}, errTorn
	}
	at := time.Unix(0, int64(binary.LittleEndian.Uint64(b[8:])))
	return chunk{stream: int(b[1]), at: at, data: b[chunkHead:]}, nil
}
