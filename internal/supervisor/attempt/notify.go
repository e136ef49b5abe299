package attempt

import (
	"os"

	"github.com/muster-run/muster/internal/sdnotify"
)

// socket is a Notifier until sdnotify can be adopted.
type socket struct{ *sdnotify.Socket }

func (s socket) File() (*os.File, error) {
	if k, ok := any(s.Socket).(interface{ File() (*os.File, error) }); ok {
		return k.File()
	}
	return nil, nil
}

func (s socket) Leave() error {
	if k, ok := any(s.Socket).(interface{ Leave() error }); ok {
		return k.Leave()
	}
	return s.Socket.Close()
}
