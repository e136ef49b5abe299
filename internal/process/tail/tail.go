package tail

import (
	"os"

	"golang.org/x/sys/unix"
)

// Tail keeps the last of what is added. The zero value keeps nothing. Not safe for
// concurrent use.
type Tail struct {
	Max int // bytes
	buf []byte
	cut bool
}

func (t *Tail) add(b []byte) {
	t.buf = append(t.buf, b...)
	if len(t.buf) > 2*t.Max {
		t.trim()
	}
}

func (t *Tail) trim() {
	if over := len(t.buf) - t.Max; over > 0 {
		t.buf, t.cut = t.buf[:copy(t.buf, t.buf[over:])], true
	}
}

// Bytes are what is kept, and whether it lacks its beginning.
func (t *Tail) Bytes() (text []byte, cut bool) {
	t.trim()
	return t.buf, t.cut
}

// ReadAll reads to the end of the pipe or its deadline.
func (t *Tail) ReadAll(read *os.File) {
	buf := make([]byte, 16<<10)
	for {
		n, err := read.Read(buf)
		t.add(buf[:n])
		if err != nil {
			return
		}
	}
}

// ReadRest takes what is in the pipe without waiting: a busy machine may have
// let the deadline pass before it was read.
func (t *Tail) ReadRest(read *os.File) {
	raw, err := read.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, 16<<10)
	_ = raw.Control(func(fd uintptr) {
		for total := 0; total < 1<<20; { // bounded: somebody may go on writing
			n, err := unix.Read(int(fd), buf)
			if n <= 0 || err != nil {
				return
			}
			t.add(buf[:n])
			total += n
		}
	})
}
