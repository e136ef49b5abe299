package worker

import (
	"net"

	"github.com/muster-run/muster/internal/channel"
)

// dealer is this worker's end of the hand-off: muster accepts, and gives it connections
// (balance: round-robin, least-connections). Its methods are safe for concurrent use.
type dealer interface {
	// hears takes a frame of the hand-off's (cmd NODE_…, but no operation), with its
	// descriptors. It runs on the goroutine that reads the channel, and must not block.
	hears(f channel.Frame)
	// listen asks for an address. ok is false where its connections are not dealt.
	listen(network, address string) (l net.Listener, ok bool, err error)
	// drain: the worker is about to end and wants no more connections.
	drain()
	// close ends all of it, before the channel is closed.
	close()
}
