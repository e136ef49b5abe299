package listener

import (
	"os"
	"strconv"
	"strings"
)

// fdTable is what a process holds, as far as it matters here.
type fdTable struct {
	sockets map[int]uint64 // descriptor → inode
	epolls  []int
	rings   []int // io_uring instances
}

// holds says whether one of the descriptors is the socket.
func (t fdTable) holds(inode uint64) bool {
	for _, held := range t.sockets {
		if held == inode {
			return true
		}
	}
	return false
}

// readFDs lists the descriptors of a process. A descriptor that is closed while
// it is being read is left out.
func readFDs(pid int) (fdTable, error) {
	t := fdTable{sockets: map[int]uint64{}}
	dir, err := os.Open("/proc/" + strconv.Itoa(pid) + "/fd")
	if err != nil {
		return t, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return t, err
	}
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		target, err := os.Readlink(dir.Name() + "/" + name)
		if err == nil {
			t.add(fd, target)
		}
	}
	return t, nil
}

func (t *fdTable) add(fd int, target string) {
	if number, ok := strings.CutPrefix(target, "socket:["); ok {
		inode, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64)
		if err == nil {
			t.sockets[fd] = inode
		}
		return
	}
	switch target {
	case "anon_inode:[eventpoll]":
		t.epolls = append(t.epolls, fd)
	case "anon_inode:[io_uring]":
		t.rings = append(t.rings, fd)
	}
}
