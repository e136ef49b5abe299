package control

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
)

// spare connections beyond MaxConns are still answered (503); more are closed.
const spare = 64

// door counts the connections of a listener and asks who opened them.
type door struct {
	net.Listener
	max  int
	open atomic.Int64
	end  context.Context
}

// conn is an accepted connection.
type conn struct {
	net.Conn
	peer peer
	// over: it came when as many as allowed were open.
	over bool
	// end ends with Serve: streams then end.
	end  context.Context
	free func()
}

// Accept implements net.Listener.
func (d *door) Accept() (net.Conn, error) {
	for {
		c, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		n := int(d.open.Add(1))
		free := sync.OnceFunc(func() { d.open.Add(-1) })
		if n > d.max+spare {
			free()
			c.Close()
			continue
		}
		return &conn{Conn: c, peer: peerOf(c), over: n > d.max, end: d.end, free: free}, nil
	}
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.free()
	return c.Conn.Close()
}

// CloseWrite lets net/http end an answer before the request is read whole.
func (c *conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}
