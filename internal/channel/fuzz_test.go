package channel

import (
	"bytes"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzSplit feeds the splitter in parts, as reads do, and holds it to bytes.Split.
// A byte of cuts says how much one read brings; a high one, that a descriptor
// comes with it.
func FuzzSplit(f *testing.F) {
	f.Add([]byte("{\"a\":1}\n\n[2]\n3"), []byte{1, 200, 5})
	f.Add([]byte("\n\n\n"), []byte{255})
	f.Add(bytes.Repeat([]byte("x"), 300), []byte{100, 127})
	f.Fuzz(func(t *testing.T, data, cuts []byte) {
		const limit = 100
		in := &incoming{}
		var lines [][]byte
		var sent, got int
		var err error
		for rest := data; len(rest) > 0 && err == nil; {
			cut := byte(64)
			if len(cuts) > 0 {
				cut, cuts = cuts[0], cuts[1:]
			}
			in.room()
			n := copy(in.buf[len(in.buf):cap(in.buf)], rest[:min(len(rest), int(cut&0x7f)+1)])
			in.buf, rest = in.buf[:len(in.buf)+n], rest[n:]
			if cut&0x80 != 0 {
				in.put(rights{fds: []int{-1}})
				sent++
			}
			for ok := true; ok && err == nil; {
				var line []byte
				if line, ok, err = in.line(limit); ok && err == nil {
					lines = append(lines, bytes.Clone(line))
					in.advance(len(line) + 1)
					fds, _ := in.take()
					got += len(fds)
				}
			}
		}
		for _, r := range in.rights {
			got += len(r.fds)
		}
		want := bytes.Split(data, []byte{'\n'})
		for i, line := range lines {
			if !bytes.Equal(line, want[i]) {
				t.Fatalf("line %d: %q, want %q", i, line, want[i])
			}
		}
		switch next := len(lines); {
		case errors.Is(err, ErrFrameTooLong) && len(want[next]) <= limit, err == nil && next != len(want)-1, len(in.buf) > limit+readMax:
			t.Fatalf("%d of %d lines, %v, %d bytes in memory", next, len(want), err, len(in.buf))
		}
		if got != sent {
			t.Fatalf("%d descriptors, %d came", got, sent)
		}
	})
}

// FuzzDescriptors reads control messages that no kernel made.
func FuzzDescriptors(f *testing.F) {
	f.Add(unix.UnixRights(1, 2, 3))
	f.Add(append(unix.UnixRights(1), unix.UnixRights(2)...))
	f.Add(unix.UnixRights(1, 2, 3)[:18])
	f.Fuzz(func(t *testing.T, oob []byte) {
		if fds := descriptors(oob); 4*len(fds) > len(oob) {
			t.Errorf("%d descriptors in %d bytes", len(fds), len(oob))
		}
	})
}
