package listener

import (
	"net"
	"slices"
	"strconv"
	"testing"
	"time"
)

// The kernel's answer and its tables say the same, where both can be asked.
func TestTablesAgree(t *testing.T) {
	for _, at := range []struct{ network, address, table string }{
		{"tcp", "127.0.0.1:0", "tcp"}, {"tcp", "[::1]:0", "tcp6"}, {"tcp", ":0", "tcp6"},
	} {
		f := bound(t, at.network, at.address)
		port, _ := strconv.Atoi(portOf(t, f))
		asked, err := askTCP(at.table, port, 1<<tcpListen)
		if err != nil {
			t.Fatal(err)
		}
		read := readInet(at.table, port, true)
		if len(asked) != 1 || !slices.Equal(asked, read) || asked[0].inode != inodeOf(t, f) {
			t.Errorf("%s: %+v, %+v", at.address, asked, read)
		}
		if all := readInet(at.table, 0, true); !slices.Contains(all, asked[0]) {
			t.Errorf("%s: not among %d of every port", at.address, len(all))
		}
	}
	if _, err := askTCP("udp", 0, 0); err == nil {
		t.Error("of datagram sockets only /proc tells")
	}
}

// timeWait is the state of a connection that nobody has any more.
const timeWait = 6

// A connection that happens to have a port is found beside those that listen.
func TestUsersOf(t *testing.T) {
	f := bound(t, "tcp", "127.0.0.1:0")
	c, err := net.Dial("tcp", Addr(f))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	local, _ := c.LocalAddr().(*net.TCPAddr)
	for what, rows := range map[string][]row{
		"asked": usersOf("tcp", local.Port), "read": readInet("tcp", local.Port, false),
	} {
		rows = slices.DeleteFunc(rows, func(r row) bool { return r.state == timeWait }) // an earlier connection's
		if len(rows) != 1 || rows[0].accepts || rows[0].inode == 0 {
			t.Errorf("%s: %+v", what, rows)
		}
	}
}

// Who holds a socket is not looked for without end.
func TestOwnerInTime(t *testing.T) {
	f := bound(t, "tcp", "127.0.0.1:0")
	wanted := map[uint64]bool{inodeOf(t, f): true}
	if found := holdersOf(wanted, time.Now().Add(time.Minute)); len(found) == 0 {
		t.Error("we hold it")
	}
	if found := holdersOf(wanted, time.Now()); len(found) != 0 {
		t.Errorf("%v in no time", found)
	}
}
