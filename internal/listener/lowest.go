package listener

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// LowestPort is the lowest port that this process may bind.
func LowestPort() int {
	if capable(unix.CAP_NET_BIND_SERVICE) {
		return 1
	}
	return FreePort()
}

// FreePort is the lowest port that everybody may bind.
func FreePort() int {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if n, bad := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && bad == nil && n >= 0 {
		return max(n, 1)
	}
	return 1024
}

// capable says whether this process has a capability; of root it is not taken for
// granted (containers).
func capable(which int) bool {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		return unix.Geteuid() == 0
	}
	return data[which/32].Effective&(1<<(which%32)) != 0
}
