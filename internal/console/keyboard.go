package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/muster-run/muster/fault"
)

// Input reads a file until its end or that of a context: it does not hold on to a key
// that is meant for who reads next.
type Input struct {
	file *os.File
	wake *os.File // readable, once ctx has ended
}

// NewInput needs a call of the function it returns when it is not read any more.
func NewInput(ctx context.Context, file *os.File) (*Input, func(), error) {
	wake, end, err := os.Pipe()
	if err != nil {
		return nil, nil, fault.New(fault.Internal, "cannot make a pipe: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { end.Close() })
	return &Input{file: file, wake: wake}, func() {
		if stop() {
			end.Close()
		}
		wake.Close()
	}, nil
}

// Read implements io.Reader; io.EOF is also what the end of the context is.
func (i *Input) Read(p []byte) (int, error) {
	for {
		fds := []unix.PollFd{{Fd: int32(i.file.Fd()), Events: unix.POLLIN}, {Fd: int32(i.wake.Fd()), Events: unix.POLLIN}}
		_, err := unix.Poll(fds, -1)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return 0, err
		case fds[1].Revents != 0:
			return 0, io.EOF
		}
		n, err := unix.Read(int(i.file.Fd()), p)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
		case err != nil:
			return 0, err
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// keyboard reads keys from a terminal in raw mode, in the form that the line editor
// knows.
type keyboard struct {
	in      io.Reader
	spoken  []byte // translated, not read yet
	partial []byte // of a rune
	names   *strings.Replacer
}

func newKeyboard(in io.Reader) *keyboard {
	return &keyboard{in: in, names: strings.NewReplacer(
		"\x03", "\x05\x15\r", // Ctrl-C drops the line: to its end, remove it, Enter
		"\x1b[1~", "\x01", "\x1b[7~", "\x01", "\x1bOH", "\x01", // Home
		"\x1b[4~", "\x05", "\x1b[8~", "\x05", "\x1bOF", "\x05", // End
		"\x1bOA", "\x1b[A", "\x1bOB", "\x1b[B", "\x1bOC", "\x1b[C", "\x1bOD", "\x1b[D",
		"\x1b[1;5C", "\x1b[1;3C", "\x1b[1;5D", "\x1b[1;3D", "\x1bf", "\x1b[1;3C", "\x1bb", "\x1b[1;3D", // words
		"\x00", "", "\x1a", "", "\x1c", "", // Ctrl-@, Ctrl-Z and Ctrl-\ do nothing here
	)}
}

// Read implements io.Reader.
func (k *keyboard) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, io.ErrShortBuffer // the editor waits for the end of a sequence that has none
	}
	var buf [256]byte
	for len(k.spoken) == 0 {
		n, err := k.in.Read(buf[:])
		if err != nil {
			return 0, err
		}
		k.spoken = k.translate(buf[:n])
	}
	n := copy(p, k.spoken)
	k.spoken = k.spoken[n:]
	return n, nil
}

// translate gives keys the names that the editor knows; what is no text is dropped, as
// the editor would wait for its rest for ever.
func (k *keyboard) translate(b []byte) []byte {
	b = append(k.partial, b...)
	k.partial = nil
	for i := 1; i <= min(utf8.UTFMax-1, len(b)); i++ {
		if tail := b[len(b)-i:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				k.partial, b = bytes.Clone(tail), b[:len(b)-i]
			}
			break
		}
	}
	return []byte(k.names.Replace(string(bytes.ToValidUTF8(b, nil))))
}

// raw makes the terminal give every key at once, and returns what undoes it. Its
// output stays as it is: who else prints on it need not know.
func raw(tty *os.File) (restore func(), err error) {
	fd := int(tty.Fd())
	before, err := term.MakeRaw(fd)
	if err != nil {
		return nil, fmt.Errorf("cannot take the keyboard: %w", err)
	}
	if mode, err := unix.IoctlGetTermios(fd, unix.TCGETS); err == nil {
		mode.Oflag |= unix.OPOST | unix.ONLCR
		_ = unix.IoctlSetTermios(fd, unix.TCSETS, mode)
	}
	return func() { _ = term.Restore(fd, before) }, nil
}
