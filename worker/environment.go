package worker

import (
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
)

// firstInherited is the first descriptor of the LISTEN_FDS protocol.
const firstInherited = 3

// environment is what muster has told the process.
type environment struct {
	get  func(name string) string
	list func() []string
	pid  int
	// first is the number of the first inherited socket.
	first int
}

func ofProcess() environment {
	return environment{get: os.Getenv, list: os.Environ, pid: os.Getpid(), first: firstInherited}
}

// off says that the SDK is switched off by name.
func (e environment) off() bool { return strings.EqualFold(e.get("MUSTER_SDK"), "off") }

// channel is the descriptor of the channel. A number that has come down from another
// process, and is something else here, is none.
func (e environment) channel() (fd int, ok bool) {
	fd, err := strconv.Atoi(e.get("MUSTER_CHANNEL_FD"))
	if err != nil || fd < firstInherited {
		return -1, false
	}
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil || domain != unix.AF_UNIX {
		return -1, false
	}
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	return fd, err == nil && kind == unix.SOCK_STREAM
}

// forgetChannel keeps programs that this one starts from taking the channel for theirs.
func forgetChannel() {
	for _, name := range []string{
		"MUSTER_CHANNEL_FD", "MUSTER_DEALT", "MUSTER_COUNT",
		"NODE_CHANNEL_FD", "NODE_UNIQUE_ID", "NODE_CHANNEL_SERIALIZATION_MODE",
	} {
		_ = os.Unsetenv(name) // fails only for names that are none
	}
}

// ownPort says that an address is on a port that the app has been given for itself
// (ports:), beside what it inherits.
func (e environment) ownPort(address string) bool {
	_, port, err := net.SplitHostPort(address)
	if err != nil || port == "" || port == "0" {
		return false
	}
	for _, kv := range e.list() {
		name, value, _ := strings.Cut(kv, "=")
		if (name == "PORT" || strings.HasPrefix(name, "PORT_")) && value == port {
			return true
		}
	}
	return false
}

// inherited are the sockets that muster has passed on. They become close-on-exec.
func (e environment) inherited() ([]socket, error) {
	if e.get("LISTEN_PID") != strconv.Itoa(e.pid) {
		return nil, nil
	}
	count, err := strconv.Atoi(e.get("LISTEN_FDS"))
	if err != nil || count < 0 {
		return nil, fault.New(fault.Bind, "LISTEN_FDS is no number: %q", e.get("LISTEN_FDS"))
	}
	names := strings.Split(e.get("LISTEN_FDNAMES"), ":")
	var all []socket
	for i := range count {
		s := socket{fd: e.first + i, name: "unknown"}
		if i < len(names) && names[i] != "" {
			s.name = names[i]
		}
		if err := s.look(); err != nil {
			return nil, fault.New(fault.Bind, "LISTEN_FDS promises descriptor %d: %w", s.fd, err).
				WithFix("open the worker before anything else opens or closes files")
		}
		all = append(all, s)
	}
	return all, nil
}
