package output

import (
	"io"
	"os"
	"syscall"

	"github.com/muster-run/muster/internal/output/form"
)

// refillBytes is how much of the end of a log file is read into memory.
const refillBytes = 1 << 20

// refill puts the end of the log file into memory: what an earlier Log had there.
func (l *Log) refill(path string) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	st, err := statOf(f)
	if err != nil || st.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return
	}
	in := io.NewSectionReader(f, 0, st.Size)
	_ = scanLines(in, max(st.Size-refillBytes, 0), func(line []byte) error {
		if r, ok := form.Decode(line, l.app); ok && r.App == l.app && r.Slot >= 0 {
			l.seq++
			l.ring(r.Slot).add(entry{l.seq, r}, l.set.Lines)
		}
		return nil
	})
	l.queue.written = l.seq
}
