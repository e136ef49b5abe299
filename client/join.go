package client

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/peer"
)

// Join takes part in operations as client:NAME, with every operation that a worker
// has; "": the name is the pid. It ends with Close, and when the agent ends or is
// replaced: Join again then. ctx bounds the joining only.
func (c *Client) Join(ctx context.Context, name string, o peer.Options) (*peer.Peer, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", c.options.Socket)
	if err != nil {
		return nil, fault.New(fault.AgentUnreachable, "no agent answers: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	in, err := upgrade(conn, name)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return peer.New(peer.Lines(stream{in, conn}), o), nil
}

// upgrade asks for it and reads the answer; what follows that is read from in.
func upgrade(conn net.Conn, name string) (in *bufio.Reader, err error) {
	_, err = fmt.Fprintf(conn, "GET /v1/join?%s HTTP/1.1\r\nHost: muster\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n",
		url.Values{"name": {name}}.Encode(), api.JoinProtocol)
	if err != nil {
		return nil, fault.New(fault.AgentUnreachable, "the agent went away: %w", err)
	}
	in = bufio.NewReader(conn)
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		return nil, fault.New(fault.AgentUnreachable, "the agent went away: %w", err)
	}
	if answer.StatusCode == http.StatusSwitchingProtocols {
		return in, nil
	}
	defer answer.Body.Close()
	text, err := readAll(answer.Body)
	if err != nil {
		return nil, fault.New(fault.AgentUnreachable, "the agent went away: %w", err)
	}
	_, err = decode[struct{}](answer.StatusCode, text)
	return nil, err
}

// stream is a connection of which the beginning may have been read already.
type stream struct {
	io.Reader
	net.Conn
}

// Read implements io.Reader.
func (s stream) Read(p []byte) (int, error) { return s.Reader.Read(p) }
