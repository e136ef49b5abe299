package show

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/muster-run/muster/event"
)

// messageWidth is how much of a message a line shows, in bytes.
const messageWidth = 200

// nodeLine tells the cluster state of a Node.js worker, in Node's words.
func nodeLine(e event.Event, d event.WorkerNode) string {
	switch d.State {
	case "listening":
		return fmt.Sprintf("%s listens on %s (Node.js worker %d)", e.Worker(), nodeAddress(d), d.ID)
	case "disconnected":
		text := fmt.Sprintf("%s disconnected (Node.js worker %d", e.Worker(), d.ID)
		if d.ExitedAfterDisconnect {
			text += ", as asked for"
		}
		return text + ")"
	}
	return fmt.Sprintf("%s %s (Node.js worker %d)", e.Worker(), d.State, d.ID)
}

// nodeAddress is a path, or host:port with the protocol where it is not TCP.
func nodeAddress(d event.WorkerNode) string {
	if d.AddressType == "-1" {
		return d.Address
	}
	address := net.JoinHostPort(d.Address, strconv.Itoa(d.Port))
	if d.Address == "" {
		address = fmt.Sprintf(":%d", d.Port)
	}
	if strings.HasPrefix(d.AddressType, "udp") {
		return address + "/udp"
	}
	return address
}

// messageLine shows what a worker's code has sent.
func messageLine(e event.Event, d event.WorkerMessage) string {
	text := string(d.Message[:min(len(d.Message), messageWidth)])
	if len(text) < len(d.Message) {
		text += fmt.Sprintf("… (%d bytes)", d.Size)
	}
	line := fmt.Sprintf("%s sent: %s", e.Worker(), harmless(text))
	if d.Descriptors > 0 {
		line += " with " + Count(d.Descriptors, "descriptor")
	}
	if d.Missed > 0 {
		line += fmt.Sprintf(" (%s before it not told)", Count(d.Missed, "message"))
	}
	return line
}

// harmless is a text without anything that moves a cursor.
func harmless(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
}
