package keeper

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/process/processtest"
)

// keeperEnv makes this program a keeper: a keeperPlan in JSON.
const keeperEnv = "MUSTER_TEST_KEEPER"

// keeperPlan is the JSON of keeperEnv. Socket is where its agents ask for orders.
type keeperPlan struct {
	Socket    string
	Times     [5]time.Duration // those of times
	Files     []string         // names of descriptors 3, 4, …, for the Store
	Inherited []string         // names of those behind, as if by LISTEN_FDS
}

func beKeeper() int {
	var p keeperPlan
	if err := json.Unmarshal([]byte(os.Getenv(keeperEnv)), &p); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 99
	}
	os.Unsetenv(keeperEnv) // an agent is none
	os.Setenv(ordersEnv, p.Socket)
	o := Options{
		Project: "keepertest", Version: "9.9", NoCgroup: true, Files: map[string]*os.File{},
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	fd := uintptr(3)
	for _, name := range p.Files {
		o.Files[name] = os.NewFile(fd, name)
		fd++
	}
	for _, name := range p.Inherited {
		o.Inherited = append(o.Inherited, process.NamedFD{Name: name, File: os.NewFile(fd, name)})
		fd++
	}
	return run(o, times{p.Times[0], p.Times[1], p.Times[2], p.Times[3], p.Times[4]})
}

// ordersEnv is the socket where an agent of the tests is told what to do.
const ordersEnv = "MUSTER_TEST_ORDERS"

// said is a line from an agent to its test.
type said struct {
	// Of the first line.
	Hello *Hello `json:",omitempty"`
	PID   int    `json:",omitempty"`
	Exe   uint64 `json:",omitempty"` // inode of the program
	// Of the others.
	Signal int    `json:",omitempty"`
	Lost   bool   `json:",omitempty"`
	Done   string `json:",omitempty"`
	Text   string `json:",omitempty"`
	Error  string `json:",omitempty"`
}

// beAgent does what the test says, a line at a time, until the test is gone.
func beAgent() int {
	conn, err := net.Dial("unix", os.Getenv(ordersEnv))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 98
	}
	fd, _ := strconv.Atoi(os.Getenv(FDEnv))
	client, hello, err := Dial(fd)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 97
	}
	var mu sync.Mutex
	say := func(s said) {
		mu.Lock()
		defer mu.Unlock()
		_ = json.NewEncoder(conn).Encode(s)
	}
	var st syscall.Stat_t
	_ = syscall.Stat("/proc/self/exe", &st)
	say(said{Hello: &hello, PID: os.Getpid(), Exe: st.Ino})
	go func() {
		for sig := range client.Signals() {
			n, _ := sig.(syscall.Signal)
			say(said{Signal: int(n)})
		}
	}()
	go func() {
		<-client.Lost()
		say(said{Lost: true})
	}()
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		verb, arg, _ := strings.Cut(lines.Text(), " ")
		if verb == "exit" {
			code, _ := strconv.Atoi(arg)
			return code
		}
		text, err := obey(client, verb, arg)
		s := said{Done: verb, Text: text}
		if err != nil {
			s.Error = err.Error()
		}
		say(s)
	}
	return 96
}

// obey carries out one line.
func obey(c *Client, verb, arg string) (string, error) {
	switch verb {
	case "up":
		return "", c.Up()
	case "end":
		code, _ := strconv.Atoi(arg)
		return "", c.End(code)
	case "garbage": // on the wire to the keeper
		fd, _ := strconv.Atoi(os.Getenv(FDEnv))
		_, err := unix.Write(fd, []byte("garbage\n"))
		return "", err
	case "store":
		return strings.Join(c.Store().List(), " "), nil
	case "own": // what the kernel says of itself
		text, err := os.ReadFile("/proc/self/" + arg)
		return string(text), err
	case "start": // COUNT DIR PROGRAM
		f := strings.Fields(arg)
		return startAll(c, f[0], f[1], f[2])
	case "upgrade":
		exe, err := os.Open(arg)
		if err != nil {
			return "", err
		}
		defer exe.Close()
		return "", c.Upgrade(exe, json.RawMessage(`{"binary":"new"}`))
	}
	return "", nil
}

// startAll starts a program many times; "small" is one of little memory.
func startAll(c *Client, count, dir, program string) (string, error) {
	n, _ := strconv.Atoi(count)
	var pids []string
	for i := range n {
		cmd := processtest.Program(program)
		if program == "small" {
			cmd.Argv, cmd.Env = []string{"sleep", "3600"}, []string{"PATH=/usr/bin:/bin"}
		}
		cmd.ID, cmd.Spool = fmt.Sprintf("w%d", i), filepath.Join(dir, strconv.Itoa(i))
		p, err := c.Start(cmd)
		if err != nil {
			return "", err
		}
		pids = append(pids, strconv.Itoa(p.PID))
	}
	return strings.Join(pids, " "), nil
}

// puppet is an agent as its test sees it.
type puppet struct {
	said
	t    *testing.T
	conn net.Conn
	in   *bufio.Scanner
}

// next is what the agent says next.
func (a *puppet) next() (s said) {
	a.t.Helper()
	if !a.in.Scan() {
		a.t.Fatalf("agent %d is gone: %v", a.PID, a.in.Err())
	}
	if err := json.Unmarshal(a.in.Bytes(), &s); err != nil {
		a.t.Fatal(err)
	}
	return s
}

// tell gives an order without waiting.
func (a *puppet) tell(line string) {
	a.t.Helper()
	if _, err := fmt.Fprintln(a.conn, line); err != nil {
		a.t.Fatal(err)
	}
}

// do gives an order and returns the answer.
func (a *puppet) do(line string) string {
	a.t.Helper()
	a.tell(line)
	s := a.next()
	if s.Done == "" || s.Error != "" {
		a.t.Fatalf("%s: %+v", line, s)
	}
	return s.Text
}

func (a *puppet) signal(sig syscall.Signal) {
	a.t.Helper()
	if err := syscall.Kill(a.PID, sig); err != nil {
		a.t.Fatal(err)
	}
}
