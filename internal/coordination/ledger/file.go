package ledger

import (
	"bufio"
	"encoding/binary"
	"hash/crc32"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const (
	mark = "MUSTLDG1"
	head = 8 // length and sum of a record
)

// RecordMax is the largest record in bytes.
const RecordMax = 16 << 20

// castagnoli is the table of CRC-32C; the package crc32 makes it once.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// appendRecord encodes a record.
func appendRecord(b, rec []byte) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(rec)))
	b = binary.LittleEndian.AppendUint32(b, sumOf(b[start:start+4], rec))
	return append(b, rec...)
}

func sumOf(length, rec []byte) uint32 {
	return crc32.Update(crc32.Checksum(length, castagnoli()), castagnoli(), rec)
}

// newFile makes a memory file that holds the mark only.
func newFile(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate("muster ledger", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.WriteAt([]byte(mark), 0); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// scan reads the records of a file, or of the size bytes that are given as one, calls f
// with each, and returns where the last whole one ends: 0 if it is no ledger at all.
// A record is valid during the call. An error of f ends the scan.
func scan(file io.ReaderAt, size int64, f func(rec []byte) error) (end int64, err error) {
	// The place in the file is shared with every other copy of it: not Read.
	r := bufio.NewReaderSize(io.NewSectionReader(file, 0, size), 64<<10)
	var h [head]byte
	if _, err := io.ReadFull(r, h[:]); err != nil || string(h[:]) != mark {
		return 0, nil
	}
	end = int64(len(mark))
	var rec []byte
	for {
		if _, err := io.ReadFull(r, h[:]); err != nil {
			return end, nil
		}
		n := int64(binary.LittleEndian.Uint32(h[:4]))
		if n > RecordMax || n > size-end-head {
			return end, nil
		}
		if int64(cap(rec)) < n {
			rec = make([]byte, n)
		}
		rec = rec[:n]
		if _, err := io.ReadFull(r, rec); err != nil || sumOf(h[:4], rec) != binary.LittleEndian.Uint32(h[4:]) {
			return end, nil
		}
		if err := f(rec); err != nil {
			return end, err
		}
		end += head + n
	}
}
