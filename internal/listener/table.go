package listener

import (
	"bufio"
	"encoding/hex"
	"errors"
	"io"
	"math/bits"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/internal/listener/diag"
)

// States and flags in /proc/net.
const (
	tcpListen   = 0x0A
	unixAccepts = 0x10000 // __SO_ACCEPTCON
)

// row is one socket in a table of /proc/net.
type row struct {
	network string // tcp, tcp6, udp, udp6 or unix
	local   netip.AddrPort
	path    string // unix only
	state   uint64
	accepts bool // it listens
	uid     int  // -1 when the table does not say
	inode   uint64
}

// address is the row's local address as people write it.
func (r row) address() string {
	if r.network == "unix" {
		return r.path
	}
	return r.local.String()
}

// socketsAt are the sockets of a table that get what comes to a port, or to any (0):
// those that listen, or those for datagrams.
func socketsAt(table string, port int) []row {
	if rows, err := askTCP(table, port, diag.Listen); err == nil {
		return rows
	}
	return readInet(table, port, true)
}

// usersOf are the sockets with a local port, connections included.
func usersOf(table string, port int) []row {
	if rows, err := askTCP(table, port, diag.All); err == nil {
		return rows
	}
	return readInet(table, port, false)
}

// errTable is for what diag does not know.
var errTable = errors.New("a table of /proc/net only")

// askTCP asks the kernel.
func askTCP(table string, port int, states uint32) ([]row, error) {
	if !strings.HasPrefix(table, "tcp") {
		return nil, errTable
	}
	found, err := diag.TCP(diag.Query{IPv6: table == "tcp6", Port: port, States: states})
	if err != nil {
		return nil, err
	}
	rows := make([]row, len(found))
	for i, s := range found {
		rows[i] = row{
			network: table, local: s.Local, state: uint64(bits.TrailingZeros32(s.State)),
			accepts: s.State == diag.Listen, uid: s.UID, inode: s.Inode,
		}
	}
	return rows, nil
}

// readInet reads /proc/net/TABLE. Listening sockets stand first; all that follows
// takes seconds on a host with a hundred thousand connections.
func readInet(table string, port int, listening bool) []row {
	var rows []row
	eachLine("/proc/net/"+table, func(line string) bool {
		r, ok := parseInet(table, line)
		if ok && listening && !r.accepts {
			return false
		}
		if ok && (port == 0 || int(r.local.Port()) == port) {
			rows = append(rows, r)
		}
		return true
	})
	return rows
}

// parseInet reads "sl local remote st tx:rx tr:when retrnsmt uid timeout inode …".
func parseInet(network, line string) (row, bool) {
	f := strings.Fields(line)
	if len(f) < 10 {
		return row{}, false
	}
	local, ok := parseHexAddr(f[1])
	state, err := strconv.ParseUint(f[3], 16, 8)
	if !ok || err != nil {
		return row{}, false
	}
	uid, err1 := strconv.Atoi(f[7])
	inode, err2 := strconv.ParseUint(f[9], 10, 64)
	if err1 != nil || err2 != nil {
		return row{}, false
	}
	stream := strings.HasPrefix(network, "tcp")
	return row{
		network: network, local: local, state: state,
		accepts: !stream || state == tcpListen, uid: uid, inode: inode,
	}, true
}

// parseHexAddr reads the kernel's form: 32-bit words in the host's byte order.
func parseHexAddr(s string) (netip.AddrPort, bool) {
	host, port, ok := strings.Cut(s, ":")
	raw, err := hex.DecodeString(host)
	n, bad := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || bad != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(raw) && littleEndian(); i += 4 {
		raw[i], raw[i+1], raw[i+2], raw[i+3] = raw[i+3], raw[i+2], raw[i+1], raw[i]
	}
	addr, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr, uint16(n)), ok
}

// unixRows reads /proc/net/unix.
func unixRows() []row {
	var rows []row
	eachLine("/proc/net/unix", func(line string) bool {
		if r, ok := parseUnix(line); ok {
			rows = append(rows, r)
		}
		return true
	})
	return rows
}

// parseUnix reads "num: refcount protocol flags type st inode [path]". A path may
// hold blanks.
func parseUnix(line string) (row, bool) {
	var f [7]string
	rest := line
	for i := range f {
		var ok bool
		f[i], rest, ok = strings.Cut(strings.TrimLeft(rest, " "), " ")
		if !ok && i < 6 {
			return row{}, false
		}
	}
	flags, err1 := strconv.ParseUint(f[3], 16, 64)
	state, err2 := strconv.ParseUint(f[5], 16, 8)
	inode, err3 := strconv.ParseUint(f[6], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return row{}, false
	}
	return row{
		network: "unix", path: rest, state: state, uid: -1, inode: inode,
		accepts: flags&unixAccepts != 0,
	}, true
}

// unixListeners are the sockets bound to a path on which somebody can listen.
func unixListeners(path string) []row {
	var found []row
	for _, r := range unixRows() {
		if r.path == path && r.inode != 0 && (r.accepts || r.state != unixConnected) {
			found = append(found, r)
		}
	}
	return found
}

// unixConnected is the state of an accepted connection, which carries the
// listener's path as well.
const unixConnected = 0x03

// eachLine calls fn for the lines after the header until it returns false. A
// table that cannot be read (no IPv6, say) has no lines.
func eachLine(path string, fn func(string) bool) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 32<<10)
	for header := true; ; header = false {
		line, err := r.ReadString('\n')
		if err != nil && (err != io.EOF || line == "") {
			return
		}
		if !header && !fn(strings.TrimRight(line, "\n")) {
			return
		}
	}
}

// addrText is a socket address as people write it; "" when it is not bound.
func addrText(sa unix.Sockaddr) string {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)).String()
	case *unix.SockaddrInet6:
		addr := netip.AddrFrom16(sa.Addr)
		if link, err := net.InterfaceByIndex(int(sa.ZoneId)); sa.ZoneId != 0 && err == nil {
			addr = addr.WithZone(link.Name)
		}
		return netip.AddrPortFrom(addr, uint16(sa.Port)).String()
	case *unix.SockaddrUnix:
		if sa.Name == "@" { // it has no name
			return ""
		}
		return sa.Name
	}
	return ""
}
