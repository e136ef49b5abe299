package channel

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// worker is a Node.js program that answers on its channel, the ordinary way.
const worker = `
process.on('message', (m, socket) => {
  if (m.block) { for (const end = Date.now() + m.block; Date.now() < end;); return }
  if (m.echo) { process.send(m); return }
  if (!socket) { process.send({ lost: m }); return }
  socket.once('data', (d) => {
    socket.write('node got ' + d, () => process.send({ back: m.give }, socket, { keepOpen: false }))
  })
})
process.send({ up: process.version, env: process.env.NODE_CHANNEL_FD === undefined })
`

// node starts it; a is our end.
func node(t *testing.T, o Options) (a *Conn, c *child) {
	t.Helper()
	script := filepath.Join(t.TempDir(), "worker.js")
	if err := os.WriteFile(script, []byte(worker), 0o600); err != nil {
		t.Fatal(err)
	}
	ours, theirs := rawPair(t)
	defer unix.Close(theirs)
	a = open(t, ours, o)
	return a, start(t, []string{"NODE_CHANNEL_FD=3"}, []int{theirs}, "node", script)
}

// fromNode is the next frame, unpacked.
func fromNode(t *testing.T, c *Conn) (f Frame, m struct {
	Cmd, Type, Echo, Up string
	N                   int
	Env                 bool
	Msg                 struct{ Back int }
},
) {
	t.Helper()
	f = receive(t, c)
	if err := json.Unmarshal(f.Data, &m); err != nil {
		t.Fatalf("%.80q: %v", f.Data, err)
	}
	return f, m
}

func TestNode(t *testing.T) {
	both(t, func(t *testing.T, peek bool) {
		a, c := node(t, Options{Peek: peek})
		if f, m := fromNode(t, a); m.Up == "" || !m.Env || Command(f.Data) != "" {
			t.Fatalf("%s", f.Data)
		}
		for i := range 100 {
			text := fmt.Sprintf(`{"echo":"ä\n %d","n":%d}`, i, i)
			send(t, a, text)
			want(t, a, text)
		}
		long := fmt.Sprintf(`{"echo":"%s"}`, strings.Repeat("long ", 160<<10))
		for range 3 {
			send(t, a, long)
		}
		for range 3 {
			want(t, a, long)
		}
		a.Close()
		if got := c.wait(); len(got) > 0 || c.cmd.ProcessState.ExitCode() != 0 {
			t.Errorf("%q, %v", got, c.cmd.ProcessState)
		}
	})
}

// A worker that is busy finds all messages when it comes back to them.
func TestNodeSlow(t *testing.T) {
	both(t, func(t *testing.T, peek bool) {
		a, c := node(t, Options{Peek: peek})
		receive(t, a)
		send(t, a, `{"block":300}`)
		text := func(i int) string { return fmt.Sprintf(`{"echo":"%s","n":%d}`, strings.Repeat("x", 10_000), i) }
		const messages = 500
		for i := range messages {
			send(t, a, text(i))
		}
		if n, _ := a.Waiting(); n == 0 {
			t.Error("nothing waits: the worker is not slow")
		}
		for i := range messages {
			want(t, a, text(i))
		}
		a.Close()
		c.wait()
	})
}

// A socket goes to a worker and comes back; each side acknowledges it.
func TestNodeHandle(t *testing.T) {
	both(t, func(t *testing.T, peek bool) {
		a, c := node(t, Options{Peek: peek})
		receive(t, a)
		for i := 1; i <= 20; i++ {
			near, far := connected(t)
			send(t, a, fmt.Sprintf(`{"cmd":"NODE_HANDLE","type":"net.Socket","msg":{"give":%d}}`, i), far)
			unix.Close(far)
			if i%5 == 0 {
				send(t, a, fmt.Sprintf(`{"echo":"%s"}`, strings.Repeat("x", 800<<10)))
			}
			if f, _ := fromNode(t, a); Command(f.Data) != "NODE_HANDLE_ACK" {
				t.Fatalf("%.80q", f.Data)
			}
			if i%5 == 0 {
				if f, m := fromNode(t, a); len(m.Echo) != 800<<10 {
					t.Fatalf("%.80q", f.Data)
				}
			}
			if _, err := unix.Write(near, []byte("hello")); err != nil {
				t.Fatal(err)
			}
			f, m := fromNode(t, a)
			if Command(f.Data) != "NODE_HANDLE" || m.Type != "net.Socket" || m.Msg.Back != i || len(f.FDs) != 1 {
				t.Fatalf("%.80q with %d descriptors", f.Data, len(f.FDs))
			}
			send(t, a, `{"cmd":"NODE_HANDLE_ACK"}`)
			if _, err := unix.Write(f.FDs[0], []byte(" and go")); err != nil {
				t.Error(err)
			}
			closeAll(f.FDs)
			if got := readAll(t, near, len("node got hello and go")); got != "node got hello and go" {
				t.Errorf("%q", got)
			}
			unix.Close(near)
		}
		a.Close()
		c.wait()
	})
}

// connected is a TCP connection: near blocks, far does not, as Node.js needs.
func connected(t *testing.T) (near, far int) {
	t.Helper()
	listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(listener)
	near, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(listener, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(listener, 1); err != nil {
		t.Fatal(err)
	}
	addr, err := unix.Getsockname(listener)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(near, addr); err != nil {
		t.Fatal(err)
	}
	far, _, err = unix.Accept4(listener, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	return near, far
}

// readAll reads n bytes.
func readAll(t *testing.T, fd, n int) string {
	t.Helper()
	var text bytes.Buffer
	for p := make([]byte, n); text.Len() < n; {
		m, err := unix.Read(fd, p)
		if err != nil || m == 0 {
			t.Fatalf("%q, then %d, %v", text.String(), m, err)
		}
		text.Write(p[:m])
	}
	return text.String()
}
