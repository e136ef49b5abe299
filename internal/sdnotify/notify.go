package sdnotify

import (
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// notifyTimeout bounds how long Notify waits for a supervisor that does not read.
const notifyTimeout = 5 * time.Second

// Notify tells the supervisor that started muster itself (systemd with
// Type=notify) a state such as "READY=1\nSTATUS=4 apps". It does nothing when
// NOTIFY_SOCKET is not set. The socket is a path, or abstract with a leading @.
// Safe for concurrent use; it waits at most 5 s for a supervisor that does not read.
func Notify(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if !strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "@") {
		return fmt.Errorf("cannot notify: NOTIFY_SOCKET %q is neither a path nor abstract", path)
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("cannot notify: %w", err)
	}
	defer conn.Close()
	_ = conn.SetWriteDeadline(time.Now().Add(notifyTimeout)) // cannot fail on an open socket
	if _, err := conn.Write([]byte(state)); err != nil {
		return fmt.Errorf("cannot notify: %w", err)
	}
	return nil
}
