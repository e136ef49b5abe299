package attempt

import (
	"os"
	"syscall"
	"testing"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
	"golang.org/x/sys/unix"
)

// Of several listeners only those are named that nobody accepts on.
func TestIdleListenersAreNamed(t *testing.T) {
	var warned []*fault.Fault
	a := &Attempt{running: true, app: spec.DefaultApp("web")}
	a.cfg.Listeners = []Listener{{Address: "127.0.0.1:8000", Inode: 1}, {Address: "127.0.0.1:8001", Inode: 2}}
	a.cfg.Events.Warned = func(f *fault.Fault) { warned = append(warned, f) }
	a.ignoresListeners([]uint64{2}, nil)
	if len(warned) != 1 || warned[0].Text != "nobody accepts on the inherited listener 127.0.0.1:8001" {
		t.Errorf("%v", warned)
	}
	// All of them have begun to accept between two looks.
	a.ignoresListeners(nil, nil)
	if len(warned) != 1 {
		t.Errorf("%v", warned)
	}
}

// The mode belongs to the socket that all share, so that nginx finds it so.
func TestSetNonBlocking(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	for range 2 {
		setNonBlocking(f)
		// What Starter and Store do with it must not change the mode back.
		flags, err := unix.FcntlInt(f.Fd(), syscall.F_GETFL, 0)
		if err != nil || flags&unix.O_NONBLOCK == 0 {
			t.Errorf("flags %#x, %v", flags, err)
		}
	}
}
