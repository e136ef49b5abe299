package listener

import (
	"os"
	"testing"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// php-fpm removes the file of a socket that it has inherited when it ends.
func TestRestore(t *testing.T) {
	dir := t.TempDir()
	l := unixSpec(dir + "/s")
	l.Mode = 0o660
	f, err := Bind(l)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if restored, err := Restore(l); restored || err != nil {
		t.Errorf("nothing is missing: %v, %v", restored, err)
	}
	for range 2 {
		if err := os.Remove(l.Address); err != nil {
			t.Fatal(err)
		}
		if restored, err := Restore(l); !restored || err != nil {
			t.Fatalf("restored %v, %v", restored, err)
		}
		info, err := os.Lstat(l.Address)
		if err != nil || info.Mode() != os.ModeSocket|0o660 {
			t.Errorf("%v, %v", info, err)
		}
		if err := reach(t, f, "unix", l.Address); err != nil {
			t.Error(err)
		}
	}
	if err := Unlink(l, f); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A socket whose file is already gone leaves no second name behind.
func TestUnlinkAfterRemoval(t *testing.T) {
	dir := t.TempDir()
	l := unixSpec(dir + "/s")
	f, err := Bind(l)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Remove(l.Address); err != nil {
		t.Fatal(err)
	}
	if err := Unlink(l, f); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// What has taken the path meanwhile stays; without a second name there is a fault.
func TestRestoreLeavesOthers(t *testing.T) {
	l := unixSpec(t.TempDir() + "/s")
	f, err := Bind(l)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Remove(l.Address); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.Address, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if restored, err := Restore(l); restored || err != nil {
		t.Errorf("%v, %v", restored, err)
	}
	for _, path := range []string{l.Address, spare(l.Address)} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Restore(l); fault.CodeOf(err) != fault.SocketGone {
		t.Errorf("got %v", err)
	}
	if restored, err := Restore(spec.Listener{Network: "tcp", Address: "/no/such"}); restored || err != nil {
		t.Errorf("tcp: %v, %v", restored, err)
	}
}

// A muster that was killed leaves both names; the next one replaces them.
func TestSpareOfTheDead(t *testing.T) {
	l := unixSpec(t.TempDir() + "/s")
	for range 2 {
		f, err := Bind(l)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(l.Address); err != nil {
			t.Fatal(err)
		}
		if restored, err := Restore(l); !restored || err != nil {
			t.Fatalf("%v, %v", restored, err)
		}
		if err := reach(t, f, "unix", l.Address); err != nil {
			t.Error(err)
		}
		f.Close()
	}
}
