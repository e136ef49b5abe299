package peer

import (
	"bufio"
	"context"
	"errors"
	"io"
	"sync"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
)

const (
	// lineMax is the longest line that is read, in bytes.
	lineMax = op.FrameMax
	// unsentMax is how many bytes may wait to be written.
	unsentMax = 8 << 20
)

// Lines makes a Wire of a stream, such as a connection to the control socket. What the
// other side does not read waits in memory, up to 8 MiB; beyond that Send fails with
// E-CHANNEL-FULL.
func Lines(stream io.ReadWriteCloser) Wire {
	l := &lines{stream: stream, read: bufio.NewReaderSize(stream, 64<<10), bell: make(chan struct{}, 1), gone: make(chan struct{})}
	go l.write()
	return l
}

type lines struct {
	stream io.ReadWriteCloser
	read   *bufio.Reader

	mu     sync.Mutex
	unsent []byte
	hand   int // bytes that are being written
	spare  []byte
	bell   chan struct{}
	once   sync.Once
	gone   chan struct{}
}

// Send puts a line in the queue.
func (l *lines) Send(line []byte) error {
	select {
	case <-l.gone:
		return fault.New(fault.AgentUnreachable, "the connection to muster is closed")
	default:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if waits := len(l.unsent) + l.hand; waits+len(line) >= unsentMax {
		return fault.New(fault.ChannelFull, "%d bytes wait for muster to read them", waits).WithFix("send less at a time")
	}
	l.unsent = append(append(l.unsent, line...), '\n')
	select {
	case l.bell <- struct{}{}:
	default:
	}
	return nil
}

// write empties the queue, and ends with the connection.
func (l *lines) write() {
	for {
		select {
		case <-l.bell:
		case <-l.gone:
			return
		}
		l.mu.Lock()
		batch := l.unsent
		l.unsent, l.spare, l.hand = l.spare[:0], nil, len(batch)
		l.mu.Unlock()
		if _, err := l.stream.Write(batch); err != nil {
			l.Close() // Receive says why
			return
		}
		l.mu.Lock()
		l.hand = 0
		if cap(batch) <= 1<<20 {
			l.spare = batch
		}
		l.mu.Unlock()
	}
}

// Receive reads a line.
func (l *lines) Receive(ctx context.Context) ([]byte, error) {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		line, err := l.line()
		if err != nil || len(line) > 0 {
			return line, err
		}
	}
}

// line is the next one, also an empty one.
func (l *lines) line() ([]byte, error) {
	var line []byte
	for {
		part, err := l.read.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line[:len(line)-1], nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		case len(line) > lineMax:
			return nil, fault.New(fault.BadChannel, "a line of more than %d bytes has come", lineMax)
		}
	}
}

// Close closes the stream.
func (l *lines) Close() (err error) {
	l.once.Do(func() {
		close(l.gone)
		err = l.stream.Close()
	})
	return err
}
