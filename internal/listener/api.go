package listener

import (
	"errors"
	"os"

	"github.com/muster-run/muster/spec"
)

func Bind(l spec.Listener) (*os.File, error) { return nil, errors.New("not yet") }
func Unlink(l spec.Listener, f *os.File)     {}
func Inode(f *os.File) (uint64, error)       { return 0, errors.New("not yet") }
func Addr(f *os.File) string                 { return "" }

// Answer is what Accepting saw.
type Answer int

// The answers.
const (
	Unknown Answer = iota
	No
	Yes
)

func Accepting(pids []int, inodes []uint64) Answer { return Unknown }

// Socket is a listening socket held by a process.
type Socket struct {
	Network string // tcp, tcp6 or unix
	Address string // host:port, a path, or @name
	Port    int    // 0 for unix
	Inode   uint64
	PID     int
}

func Foreign(pids []int, ours map[uint64]bool) ([]Socket, error) { return nil, nil }
func Pending(inode uint64, network string) (n int, ok bool)      { return 0, false }

// Named is a socket that muster inherited.
type Named struct {
	Name string
	File *os.File
}

func Inherited() ([]Named, error) { return nil, nil }
