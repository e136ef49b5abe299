package sdnotify

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

// What a worker says while no agent is there is read by the next one, from the
// same file.
func TestAdopt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n")
	first, err := Listen(path, os.Geteuid())
	if err != nil {
		t.Fatal(err)
	}
	kept, err := first.File()
	if err != nil {
		t.Fatal(err)
	}
	worker := dial(t, first)
	say(t, worker, "STATUS=one")
	if m := <-first.Messages(); m.Status != "one" {
		t.Errorf("%+v", m)
	}
	if err := first.Leave(); err != nil {
		t.Fatal(err)
	}
	if _, open := <-first.Messages(); open {
		t.Error("messages after the end")
	}
	say(t, worker, "STATUS=two")
	say(t, worker, "READY=1")
	second, err := Adopt(kept, path, os.Geteuid())
	if err != nil {
		t.Fatal(err)
	}
	var ready bool
	status := ""
	for !ready {
		m := <-second.Messages()
		ready = m.Ready
		if m.HasStatus {
			status = m.Status
		}
	}
	if status != "two" {
		t.Errorf("status %q", status)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the file stayed: %v", err)
	}
}

// What is no such socket is refused, and closed.
func TestAdoptOther(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	if s, err := Adopt(f, "/x", 0); err == nil {
		s.Close()
		t.Error("taken for a socket of sd_notify")
	}
	if f.Close() == nil {
		t.Error("left open")
	}
}
