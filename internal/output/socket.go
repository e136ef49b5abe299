package output

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/api"
)

const (
	journalSocket = "/run/systemd/journal/socket"
	syslogSocket  = "/dev/log"
	// sendTimeout bounds one datagram to a daemon that does not read.
	sendTimeout = time.Second
	// syslogMost is the longest text in one syslog message, in bytes: what
	// rsyslog takes by default, less the header.
	syslogMost = 8000

	priorityErr, priorityInfo = 3, 6
	facilityDaemon            = 3 << 3
)

// datagrams is a target that sends each record in datagrams of its own.
type datagrams struct {
	path string
	// encode gives a record's datagrams to send.
	encode func(r *api.Record, send func([]byte) error) error
	// large sends a datagram that is too large for the socket; nil: an error.
	large func(c *net.UnixConn, b []byte) error
	conn  *net.UnixConn
}

func (d *datagrams) view() view { return view{} }
func (d *datagrams) close()     { d.reopen() }

func (d *datagrams) reopen() {
	if d.conn != nil {
		d.conn.Close()
		d.conn = nil
	}
}

func (d *datagrams) write(list []item) (int, error) {
	for i := range list {
		if i == 256 {
			return i, nil // so that whoever waits sees it move
		}
		if err := d.encode(&list[i].Record, d.send); err != nil {
			return i, err
		}
	}
	return len(list), nil
}

// send tries once more on a new connection: the daemon may have restarted.
func (d *datagrams) send(b []byte) error {
	err := d.sendOnce(b)
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	d.reopen()
	return d.sendOnce(b)
}

func (d *datagrams) sendOnce(b []byte) error {
	if d.conn == nil {
		conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: d.path, Net: "unixgram"})
		if err != nil {
			return err
		}
		d.conn = conn
	}
	if err := d.conn.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return err
	}
	_, err := d.conn.Write(b)
	if d.large != nil && (errors.Is(err, unix.EMSGSIZE) || errors.Is(err, unix.ENOBUFS)) {
		return d.large(d.conn, b)
	}
	return err
}

// newJournal sends to journald in its own protocol, with the fields MESSAGE,
// PRIORITY, SYSLOG_IDENTIFIER (the app), MUSTER_APP, MUSTER_WORKER ("web#2") and
// SYSLOG_PID (the worker's).
func newJournal(app, path string) target {
	if path == "" {
		path = journalSocket
	}
	return &datagrams{path: path, large: sendFile, encode: func(r *api.Record, send func([]byte) error) error {
		return send(appendJournal(nil, app, r))
	}}
}

func appendJournal(b []byte, app string, r *api.Record) []byte {
	b = appendField(b, "MESSAGE", r.Line)
	b = appendField(b, "PRIORITY", strconv.Itoa(priority(r)))
	b = appendField(b, "SYSLOG_IDENTIFIER", app)
	b = appendField(b, "MUSTER_APP", app)
	b = appendField(b, "MUSTER_STREAM", r.Stream)
	if r.Slot >= 0 {
		b = appendField(b, "MUSTER_WORKER", app+"#"+strconv.Itoa(r.Slot))
		b = appendField(b, "SYSLOG_PID", strconv.Itoa(r.PID))
	}
	if r.Cut {
		b = appendField(b, "MUSTER_CUT", "1")
	}
	return b
}

// appendField writes "NAME=value\n", or with a length where the value has
// newlines.
func appendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	if strings.Contains(value, "\n") {
		b = append(b, '\n')
		b = binary.LittleEndian.AppendUint64(b, uint64(len(value)))
	} else {
		b = append(b, '=')
	}
	b = append(b, value...)
	return append(b, '\n')
}

func priority(r *api.Record) int {
	if r.Stream == stderr {
		return priorityErr
	}
	return priorityInfo
}

// sendFile hands a large datagram over as a sealed memory file.
func sendFile(c *net.UnixConn, b []byte) error {
	fd, err := unix.MemfdCreate("muster-log", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "muster-log")
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		return err
	}
	const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return err
	}
	return sendRights(c, unix.UnixRights(fd))
}

// sendRights sends an empty datagram with descriptors. (WriteMsgUnix refuses a
// connected datagram socket.)
func sendRights(c *net.UnixConn, rights []byte) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Write(func(socket uintptr) bool {
		sent = unix.Sendmsg(int(socket), nil, rights, nil, unix.MSG_NOSIGNAL)
		return !errors.Is(sent, unix.EAGAIN)
	})
	return errors.Join(err, sent)
}

// newSyslog sends to the local syslog daemon, in the form that glibc uses:
// "<30>Nov 22 10:00:00 web[4711]: text", facility daemon, local time. A line
// longer than syslogMost becomes several messages.
func newSyslog(app, path string) target {
	if path == "" {
		path = syslogSocket
	}
	return &datagrams{path: path, encode: func(r *api.Record, send func([]byte) error) error {
		text := r.Line
		for {
			n := len(text)
			if n > syslogMost {
				n = cutAt(text, syslogMost)
			}
			if err := send(appendSyslog(nil, app, r, text[:n])); err != nil {
				return err
			}
			if text = text[n:]; text == "" {
				return nil
			}
		}
	}}
}

func appendSyslog(b []byte, app string, r *api.Record, text string) []byte {
	b = append(b, '<')
	b = strconv.AppendInt(b, int64(facilityDaemon|priority(r)), 10)
	b = append(b, '>')
	b = r.Time.Local().AppendFormat(b, time.Stamp)
	b = append(b, ' ')
	b = append(b, app...)
	if r.PID > 0 {
		b = append(b, '[')
		b = strconv.AppendInt(b, int64(r.PID), 10)
		b = append(b, ']')
	}
	b = append(b, ": "...)
	return append(b, text...)
}
