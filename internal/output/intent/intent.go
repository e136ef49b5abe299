package intent

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// intentMark begins a note; its digit is the version.
	intentMark = "MUSTLOG1"
	// intentHead: mark, uint64 number, uint32 length of the text, uint32 CRC-32 of
	// all but itself. Little-endian.
	intentHead = len(intentMark) + 8 + 4 + 4
	// intentRegion is the size of a region of the first pair; each further pair
	// has regions of twice the size and begins where the one before ends.
	intentRegion = 64 << 10
	// intentPairs bounds a note at 64 MiB, far beyond what any app needs.
	intentPairs = 11
	// neverWritten is the after of a note whose write is known to be incomplete.
	neverWritten = math.MaxInt64
)

// errIntent says that a text is no note.
var errIntent = errors.New("no intent")

// New makes the memory file for a Ledger.
func New() (*os.File, error) {
	fd, err := unix.MemfdCreate("muster log", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), "intent"), nil
}

// Place is how far a source is recorded: all before Pos, and of what is behind
// it the first bytes of each stream.
type Place struct {
	Pos  int64
	Skip [2]int64
}

// FileID tells a file from all others, whatever its name.
type FileID struct{ Dev, Ino uint64 }

// IDOf is the FileID in the answer of stat(2).
func IDOf(st *syscall.Stat_t) FileID { return FileID{uint64(st.Dev), st.Ino} }

// Write is a write to a log file. The zero value is none.
type Write struct {
	Path   string // absolute
	File   FileID
	Before int64 // size of the file up to its last whole record
	After  int64 // size once all is written
}

// note is a write, and what becomes of the sources by it.
type note struct {
	Write
	list []noted
}

// noted is one source that is recorded further than it is committed.
type noted struct {
	id            string
	before, after Place
}

// append encodes a note.
func (n *note) append(b []byte) []byte {
	b = appendName(b, n.Path)
	for _, v := range [...]uint64{n.File.Dev, n.File.Ino, uint64(n.Before), uint64(n.After), uint64(len(n.list))} {
		b = binary.AppendUvarint(b, v)
	}
	for i := range n.list {
		e := &n.list[i]
		b = binary.AppendUvarint(appendName(b, e.id), 0)
		for _, p := range [...]Place{e.before, e.after} {
			for _, v := range [...]int64{p.Pos, p.Skip[0], p.Skip[1]} {
				b = binary.AppendUvarint(b, uint64(v))
			}
		}
	}
	return b
}

func appendName(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decodeNote is the reverse of append; it refuses what append does not write.
func decodeNote(b []byte) (note, error) {
	d := noteReader{rest: b}
	n := note{Write: Write{Path: d.text()}}
	n.File.Dev, n.File.Ino = d.number(), d.number()
	n.Before, n.After = d.size(), d.size()
	for left := d.number(); left > 0 && !d.bad; left-- {
		e := noted{id: d.text()}
		_ = d.number() // kept for later use
		e.before, e.after = d.place(), d.place()
		n.list = append(n.list, e)
	}
	if d.bad || len(d.rest) > 0 {
		return note{}, errIntent
	}
	return n, nil
}

// noteReader reads a note from its beginning; once bad, it returns zeros.
type noteReader struct {
	rest []byte
	bad  bool
}

func (d *noteReader) number() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 || d.bad {
		d.bad = true
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// size is a number that fits an int64.
func (d *noteReader) size() int64 {
	v := d.number()
	if v > math.MaxInt64 {
		d.bad = true
		return 0
	}
	return int64(v)
}

func (d *noteReader) text() string {
	n := d.number()
	if d.bad || n > uint64(len(d.rest)) {
		d.bad = true
		return ""
	}
	s := string(d.rest[:n])
	d.rest = d.rest[n:]
	return s
}

func (d *noteReader) place() Place {
	return Place{d.size(), [2]int64{d.size(), d.size()}}
}

// file is what notes are kept in. Its regions are written in turn, so
// that the note before is whole while one is written.
type file struct {
	os   *os.File
	last uint64 // number of the newest note
	slot int    // region that holds it; -1: none
	buf  []byte
}

// openFile reads the newest whole note of a file; a file without one holds an
// empty note.
func openFile(f *os.File) (*file, note) {
	in := &file{os: f, slot: -1}
	var newest note
	for slot := range 2 * intentPairs {
		number, n, err := in.load(slot)
		if err == nil && (in.slot < 0 || number > in.last) {
			in.last, in.slot, newest = number, slot, n
		}
	}
	return in, newest
}

// region is where a slot begins, and its size.
func region(slot int) (offset, size int64) {
	pair := slot / 2
	size = intentRegion << pair
	return 2*(size-intentRegion) + int64(slot%2)*size, size
}

// load reads the note in a slot.
func (in *file) load(slot int) (uint64, note, error) {
	offset, size := region(slot)
	var head [intentHead]byte
	if _, err := in.os.ReadAt(head[:], offset); err != nil {
		return 0, note{}, err
	}
	length := int64(binary.LittleEndian.Uint32(head[16:]))
	if string(head[:len(intentMark)]) != intentMark || length > size-int64(intentHead) {
		return 0, note{}, errIntent
	}
	text := make([]byte, length)
	if _, err := in.os.ReadAt(text, offset+int64(intentHead)); err != nil {
		return 0, note{}, err
	}
	if binary.LittleEndian.Uint32(head[20:]) != sumOf(head[:20], text) {
		return 0, note{}, errIntent
	}
	n, err := decodeNote(text)
	return binary.LittleEndian.Uint64(head[8:]), n, err
}

func sumOf(head, text []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE(head), crc32.IEEETable, text)
}

// write makes n the newest note.
func (in *file) write(n *note) error {
	b := append(in.buf[:0], intentMark...)
	b = append(b, make([]byte, intentHead-len(intentMark))...)
	b = n.append(b)
	in.buf = b
	binary.LittleEndian.PutUint64(b[8:], in.last+1)
	binary.LittleEndian.PutUint32(b[16:], uint32(len(b)-intentHead))
	binary.LittleEndian.PutUint32(b[20:], sumOf(b[:20], b[intentHead:]))
	slot, err := in.free(int64(len(b)))
	if err != nil {
		return err
	}
	offset, _ := region(slot)
	if _, err := in.os.WriteAt(b, offset); err != nil {
		return err
	}
	in.last, in.slot = in.last+1, slot
	return nil
}

// free is the first region that holds so many bytes, but not the newest note.
func (in *file) free(length int64) (int, error) {
	for slot := range 2 * intentPairs {
		if _, size := region(slot); length <= size && slot != in.slot {
			return slot, nil
		}
	}
	return 0, unix.EFBIG
}
