package mail

import (
	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/nodejs"
)

// Plain carries letters to a program that reads its channel by itself: the message
// is a frame, and the descriptor goes with it.
type Plain struct{ *channel.Conn }

// Carry implements Carrier.
func (p Plain) Carry(l Letter) error {
	if l.FD == None {
		return p.Send(l.Data)
	}
	return p.Send(l.Data, l.FD)
}

// Node carries letters to a Node.js worker: process.on('message').
type Node struct {
	Link *nodejs.Link
	*channel.Conn
}

// Carry implements Carrier.
func (n Node) Carry(l Letter) error { return n.Link.User(l.Data, l.FD, l.Kind) }

// kindOf is how Node calls a socket; "net.Native", which no message carries, for what
// it has no word for.
func kindOf(fd int) string {
	typ, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	listens, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN) // 0 when it fails: it does not listen
	switch {
	case err != nil:
		return "net.Native"
	case typ == unix.SOCK_DGRAM:
		return nodejs.TypeDatagram
	case listens != 0:
		return nodejs.TypeServer
	}
	return nodejs.TypeSocket
}
