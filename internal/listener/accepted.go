package listener

import (
	"fmt"
	"strings"
)

// accepted knows which connections came from which of some listening sockets. A
// process that holds one has accepted it, though it may be too busy ever to be
// seen waiting for the next: gunicorn's sync workers poll only when nobody is in
// line. The tables are read once, and only when they are asked for, because they
// hold every connection of the host.
type accepted struct {
	listeners []uint64
	from      map[uint64]uint64 // connection → listener
}

// look adds the listeners of which the process holds a connection.
func (a *accepted) look(p process, waits map[uint64]bool) {
	if a.from == nil {
		a.from = map[uint64]uint64{}
		a.readInet("tcp")
		a.readInet("tcp6")
		a.readUnix()
	}
	for _, inode := range p.fds.sockets {
		if from, ok := a.from[inode]; ok {
			waits[from] = true
		}
	}
}

func (a *accepted) wanted(inode uint64) bool {
	for _, l := range a.listeners {
		if l == inode {
			return true
		}
	}
	return false
}

// readInet finds connections by their local address, which is the listener's.
func (a *accepted) readInet(table string) {
	ours := map[string]row{} // by the port as the table writes it
	for _, r := range inetRows(table) {
		if a.wanted(r.inode) {
			ours[fmt.Sprintf(":%04X", r.local.Port())] = r
		}
	}
	if len(ours) == 0 {
		return
	}
	eachLine("/proc/net/"+table, func(line string) bool {
		f := strings.Fields(line)
		if len(f) < 10 || f[9] == "0" {
			return true
		}
		l, ok := ours[f[1][max(0, len(f[1])-5):]]
		if !ok {
			return true
		}
		c, ok := parseInet(table, line)
		if ok && !c.accepts && (l.local.Addr().IsUnspecified() || l.local.Addr() == c.local.Addr()) {
			a.from[c.inode] = l.inode
		}
		return true
	})
}

// readUnix finds connections by their path, which is the listener's.
func (a *accepted) readUnix() {
	rows := unixRows()
	ours := map[string]uint64{}
	for _, r := range rows {
		if r.accepts && r.path != "" && a.wanted(r.inode) {
			ours[r.path] = r.inode
		}
	}
	for _, r := range rows {
		if from, ok := ours[r.path]; ok && r.inode != 0 && r.state == unixConnected && !r.accepts {
			a.from[r.inode] = from
		}
	}
}
