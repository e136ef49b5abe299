package sdnotify

import (
	"net"
	"os"

	"github.com/muster-run/muster/fault"
)

// Adopt goes on reading a socket that an earlier agent made with Listen at path, for
// uid. What that one had not dealt with when it left or was killed, and what came
// meanwhile, is read first. It takes file over.
func Adopt(file *os.File, path string, uid int) (*Socket, error) {
	defer file.Close() // FileConn duplicates it
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, fault.New(fault.Bind, "cannot use notify socket %s: %w", path, err)
	}
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return nil, fault.New(fault.Bind, "cannot use notify socket %s: it is another kind of socket", path)
	}
	return serve(unixConn, path, uid), nil
}

// File is a duplicate of the socket, for whatever keeps it beyond this process;
// the caller closes it.
func (s *Socket) File() (*os.File, error) {
	f, err := s.conn.File()
	if err != nil {
		return nil, fault.New(fault.Bind, "cannot keep notify socket %s: %w", s.path, err)
	}
	return f, nil
}

// Leave is Close for a socket that somebody else goes on with: its file stays, and
// so does in the socket what nobody has dealt with. Only messages that a slow
// consumer had let wait for more than a second are gone.
func (s *Socket) Leave() error { return s.stop(func() error { return nil }) }
