package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"
)

// errClosed says that the server has closed the WebSocket in good order.
var errClosed = errors.New("closed by the server")

// talker is a client that sends a message over its WebSocket, waits for the echo,
// and goes on after a pause of up to 50 ms. A server may close the WebSocket at any time,
// but with a message unanswered that message counts as lost.
type talker struct {
	client
	n int
}

func (c *talker) loop(ctx context.Context) {
	defer c.drop()
	for ctx.Err() == nil {
		start := time.Now()
		who, err := c.turn(start.Add(c.run.opt.Timeout))
		c.run.count(sockets, who, time.Since(start), err)
		if err != nil {
			c.drop()
		}
		c.rest(ctx, time.Duration(rand.IntN(50)+1)*time.Millisecond)
	}
}

// rest waits, and hears whether the server closes meanwhile.
func (c *talker) rest(ctx context.Context, d time.Duration) {
	if c.conn == nil {
		pause(ctx, d)
		return
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(d))
	_, err := c.in.Peek(1)
	if kindOf(err) == Hung { // nothing came
		return
	}
	_ = c.conn.SetDeadline(time.Now().Add(c.run.opt.Timeout))
	if err == nil {
		_, err = c.read()
	}
	if err == nil {
		err = errGarbled // a message that nobody asked for
	}
	if errors.Is(err, errClosed) {
		c.run.closed()
	} else {
		c.run.count(sockets, Who{}, 0, fmt.Errorf("idle WebSocket: %w", err))
	}
	c.drop()
}

func (r *Run) closed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Closed++
}

// turn sends one message and reads its echo.
func (c *talker) turn(deadline time.Time) (Who, error) {
	if c.conn == nil {
		if err := c.open(deadline); err != nil {
			return Who{}, err
		}
	}
	_ = c.conn.SetDeadline(deadline)
	c.n++
	text := fmt.Sprintf("%d.%d", c.index, c.n)
	if err := c.write(1, []byte(text)); err != nil {
		return Who{}, fmt.Errorf("write: %w", err)
	}
	echo, err := c.read()
	if err != nil {
		if errors.Is(err, errClosed) {
			err = errors.Join(err, io.ErrUnexpectedEOF)
		}
		return Who{}, fmt.Errorf("echo of %s: %w", text, err)
	}
	return parseWho(echo)
}

// open makes the connection a WebSocket (RFC 6455, section 4).
func (c *talker) open(deadline time.Time) error {
	if err := c.dial(deadline); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	_ = c.conn.SetDeadline(deadline)
	_, err := io.WriteString(c.conn, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return fmt.Errorf("upgrade: %w", errors.Join(err, c.raw.err))
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return statusError(resp.StatusCode)
	}
	return nil
}

// write sends one frame, masked with zeros.
func (c *talker) write(opcode byte, payload []byte) error {
	frame := append([]byte{0x80 | opcode, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...)
	_, err := c.conn.Write(frame)
	return err
}

// read is the next text. A Close frame is answered, and is errClosed.
func (c *talker) read() ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return nil, err
	}
	size := int(head[1] & 0x7f)
	if size == 126 {
		var long [2]byte
		if _, err := io.ReadFull(c.in, long[:]); err != nil {
			return nil, err
		}
		size = int(binary.BigEndian.Uint16(long[:]))
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(c.in, payload); err != nil {
		return nil, err
	}
	if head[0]&0xf == 8 {
		_ = c.write(8, payload)
		return nil, errClosed
	}
	return payload, nil
}
