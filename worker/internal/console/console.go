package console

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
)

const (
	// connsMax is how many may be connected at a time.
	connsMax = 8
	// lineMax is the longest line in bytes.
	lineMax = 64 << 10
	// tokenTime is how long the token may take to come.
	tokenTime = 10 * time.Second
	// pathMax is the longest path of a UNIX socket, without its zero.
	pathMax = 103
)

// Command is one of the program's own.
type Command struct{ Name, Pattern, Help string }

// Program is what the console looks into.
type Program struct {
	// Name is shown as the prompt.
	Name string
	// Commands of the program's own, and what runs one with the words behind its name.
	Commands func() []Command
	Run      func(ctx context.Context, c Command, words []string) (any, error)
	// Vars lists what the command vars shows; nil: nothing.
	Vars func(show func(name string, value fmt.Stringer))
}

// Console listens until it is closed.
type Console struct {
	program Program
	l       net.Listener
	path    string // of the UNIX socket
	token   string // of TCP

	ctx  context.Context
	stop context.CancelFunc

	mu    sync.Mutex
	conns map[net.Conn]bool
	done  sync.WaitGroup // the one that accepts
}

// Open listens on 127.0.0.1:port, or if that is 0, on a UNIX socket in dir. The fault of
// what is not possible is E-CONSOLE.
func Open(dir string, port int, p Program) (*Console, error) {
	c := &Console{program: p, conns: map[net.Conn]bool{}}
	if err := c.listen(dir, port); err != nil {
		return nil, err
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.done.Go(c.accept)
	return c, nil
}

func (c *Console) listen(dir string, port int) (err error) {
	if port != 0 {
		c.token = rand.Text()
		c.l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		return failed(err)
	}
	if dir == "" {
		return fault.New(fault.ConsoleFailed, "muster has named no place for a console").WithFix("write console: {port: N} for the app, or give its user a directory")
	}
	path := filepath.Join(dir, fmt.Sprintf("console-%d.sock", os.Getpid()))
	if len(path) > pathMax {
		return fault.New(fault.ConsoleFailed, "the path of the console's socket is too long: %s", path).WithFix("set MUSTER_RUNTIME_DIR to a shorter directory")
	}
	_ = os.Remove(path) // one of an earlier process that had this pid
	if c.l, err = net.Listen("unix", path); err != nil {
		return failed(err)
	}
	c.path = path
	if err := os.Chmod(path, 0o600); err != nil { // until then its directory is the owner's alone
		c.l.Close()
		return failed(err)
	}
	return nil
}

func failed(err error) error {
	if err == nil {
		return nil
	}
	return fault.New(fault.ConsoleFailed, "the console cannot listen: %w", err)
}

// Path is that of the UNIX socket, "" for TCP.
func (c *Console) Path() string { return c.path }

// Address and Token are those of TCP, "" for a UNIX socket.
func (c *Console) Address() (address, token string) {
	if c.path != "" {
		return "", ""
	}
	return c.l.Addr().String(), c.token
}

// Close ends the console. It waits for no command that runs.
func (c *Console) Close() {
	c.stop()
	c.l.Close() // removes the socket, too
	c.mu.Lock()
	for conn := range c.conns {
		conn.Close()
	}
	c.mu.Unlock()
	c.done.Wait()
}

func (c *Console) accept() {
	for {
		conn, err := c.l.Accept()
		if err != nil {
			if c.ctx.Err() != nil {
				return
			}
			select { // too many open files, most likely
			case <-time.After(100 * time.Millisecond):
			case <-c.ctx.Done():
			}
			continue
		}
		if !c.enter(conn) {
			conn.Close()
		}
	}
}

// enter lets a connection in, if there is room for it.
func (c *Console) enter(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.conns) >= connsMax || c.ctx.Err() != nil || !owner(conn) {
		return false
	}
	c.conns[conn] = true
	go c.serve(conn)
	return true
}

// owner says whether the other side of a UNIX socket is this process's user, or root.
func owner(conn net.Conn) bool {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return true // TCP has a token
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return false
	}
	allowed := false
	_ = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		allowed = err == nil && mayLook(int(cred.Uid))
	})
	return allowed
}

// mayLook says whether a user may use the console.
func mayLook(uid int) bool { return uid == os.Geteuid() || uid == 0 }

// serve answers one connection.
func (c *Console) serve(conn net.Conn) {
	defer func() {
		conn.Close()
		c.mu.Lock()
		delete(c.conns, conn)
		c.mu.Unlock()
	}()
	in := bufio.NewScanner(conn)
	in.Buffer(nil, lineMax)
	if c.token != "" && !c.admit(conn, in) {
		return
	}
	fmt.Fprintf(conn, "%s, pid %d: help lists the commands\n", c.program.Name, os.Getpid())
	for {
		if _, err := fmt.Fprintf(conn, "%s> ", c.program.Name); err != nil || !in.Scan() {
			return
		}
		if !c.line(conn, strings.Fields(in.Text())) {
			return
		}
	}
}

// admit reads the token.
func (c *Console) admit(conn net.Conn, in *bufio.Scanner) bool {
	_ = conn.SetReadDeadline(time.Now().Add(tokenTime))
	ok := in.Scan() && subtle.ConstantTimeCompare([]byte(strings.TrimSpace(in.Text())), []byte(c.token)) == 1
	_ = conn.SetReadDeadline(time.Time{})
	return ok
}

// line runs what was typed. more is false when that was quit.
func (c *Console) line(out io.Writer, words []string) (more bool) {
	if len(words) == 0 {
		return true
	}
	if words[0] == "quit" || words[0] == "exit" {
		return false
	}
	if own, ok := builtins(c.program)[words[0]]; ok {
		own.run(out)
		return true
	}
	for _, command := range c.program.Commands() {
		if command.Name == words[0] {
			c.run(out, command, words[1:])
			return true
		}
	}
	fmt.Fprintf(out, "there is no %q here: help lists the commands\n", words[0])
	return true
}

// run runs a command of the program's.
func (c *Console) run(out io.Writer, command Command, words []string) {
	defer func() {
		if v := recover(); v != nil {
			fmt.Fprintf(out, "%s has panicked: %v\n", command.Name, v)
		}
	}()
	reply, err := c.program.Run(c.ctx, command, words)
	switch text, isText := reply.(string); {
	case err != nil:
		fmt.Fprintln(out, err)
	case isText:
		fmt.Fprintln(out, text)
	case reply != nil:
		printJSON(out, reply)
	}
}

func printJSON(out io.Writer, v any) {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		fmt.Fprintf(out, "%v\n", v)
		return
	}
	fmt.Fprintf(out, "%s\n", text)
}
