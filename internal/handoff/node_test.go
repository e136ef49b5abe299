package handoff

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/spec"
)

// nodeServer is an ordinary program; n is its number, max its maxConnections.
const nodeServer = `
const server = require('http').createServer((q, s) => {
  s.setHeader('connection', 'close')
  s.end(process.env.N)
})
if (process.env.MAX) server.maxConnections = +process.env.MAX
server.listen(+process.env.PORT, '127.0.0.1')
`

// nodePrimary is the same with Node's own primary.
const nodePrimary = `
const cluster = require('cluster')
if (cluster.isPrimary) {
  for (let n = 0; n < 2; n++) cluster.fork({ N: 'w' + n })
  let up = 0
  cluster.on('listening', () => { if (++up === 2) console.log('up') })
} else {` + nodeServer + `}
`

// script writes a program.
func script(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "server.js")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// nodeWorker is a real one, spoken to in the plainest way.
type nodeWorker struct {
	*worker
	cmd    *exec.Cmd
	listen chan struct{}
}

// startNode starts one that serves as name; it takes part once it listens.
func startNode(t testing.TB, d *Door, name string, env ...string) *nodeWorker {
	t.Helper()
	ours, theirs, err := channel.Pair()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", script(t, nodeServer))
	cmd.Env = append(os.Environ(), append(env, "NODE_CHANNEL_FD=3", "NODE_UNIQUE_ID=1", "PORT=8000", "N="+name)...)
	cmd.Stderr = os.Stderr
	file := os.NewFile(uintptr(theirs), "channel")
	cmd.ExtraFiles = []*os.File{file}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	file.Close()
	n := &nodeWorker{cmd: cmd, listen: make(chan struct{}), worker: &worker{name: name, conn: channel.Open(ours, channel.Options{Peek: true, Driven: true})}}
	n.ear = d.loop.Hear(n.conn, Hearing{First: n.first, Rest: func(f channel.Frame) { n.rest(d, f) }, End: func(error) {
		if n.seat != nil {
			n.seat.Gone()
		}
	}})
	t.Cleanup(n.kill)
	<-n.listen
	return n
}

// kill is kill -9.
func (n *nodeWorker) kill() {
	_ = n.cmd.Process.Kill()
	_ = n.cmd.Wait()
	n.conn.Close()
}

// suspend stops the process, and returns once it stands still.
func (n *nodeWorker) suspend(t *testing.T) {
	t.Helper()
	_ = n.cmd.Process.Signal(syscall.SIGSTOP)
	eventually(t, "the process stands still", func() bool {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.cmd.Process.Pid))
		return bytes.Contains(text, []byte(") T "))
	})
}

// rest answers what a listening server asks for.
func (n *nodeWorker) rest(d *Door, f channel.Frame) {
	var m struct {
		Act string
		Seq int64
	}
	_ = json.Unmarshal(f.Data, &m)
	switch m.Act {
	case "queryServer":
		n.seat = d.Join(0, n)
		_ = n.conn.Send(fmt.Appendf(nil, `{"cmd":"NODE_CLUSTER","errno":0,"key":"k","ack":%d,"data":null,"sockname":{"address":"127.0.0.1","family":"IPv4","port":8000},"seq":%d}`, m.Seq, d.loop.NextID()))
	case "listening":
		close(n.listen)
	}
}

// get asks for a path over a new connection.
func get(addr, path string) (string, error) {
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	r, err := c.Get("http://" + addr + path)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	return string(text), err
}

// Real workers: taken in turn, one killed under load, one at its limit.
func TestNodeWorkers(t *testing.T) {
	_, d, f := roundRobin(t, DoorOptions{})
	addr := fileAddr(t, f)
	doomed := startNode(t, d, "doomed")
	other := startNode(t, d, "w1")
	m := map[string]int{}
	for range 20 {
		text, err := get(addr, "/")
		if err != nil {
			t.Fatal(err)
		}
		m[text]++
	}
	if m["doomed"] != 10 || m["w1"] != 10 {
		t.Errorf("%v", m)
	}
	// A suspended worker has one connection under way, which its death gives to another.
	for _, w := range []*nodeWorker{doomed, other} {
		w.suspend(t)
	}
	var failed atomic.Int32
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() {
			if _, err := get(addr, "/"); err != nil {
				failed.Add(1)
			}
		})
	}
	eventually(t, "connections under way to both", func() bool { return d.Stats().UnderWay == 2 })
	doomed.kill()
	_ = other.cmd.Process.Signal(syscall.SIGCONT)
	wg.Wait()
	if st := d.Stats(); failed.Load() > 0 || st.Again != 1 || st.Unknown > 0 {
		t.Errorf("%d failed: %+v", failed.Load(), st)
	}
}

// A worker at maxConnections refuses; what it refuses is served later.
func TestNodeMaxConnections(t *testing.T) {
	l, d, f := roundRobin(t, DoorOptions{})
	startNode(t, d, "w", "MAX=1")
	addr := fileAddr(t, f)
	hold, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "one is taken", func() bool { return d.Stats().Dealt == 1 })
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if text, err := get(addr, "/"); text != "w" {
				t.Errorf("%q, %v", text, err)
			}
		})
	}
	eventually(t, "refusals", func() bool { return d.Stats().Refused > 2 })
	before := l.processor(t)
	pass(500 * time.Millisecond)
	if used := l.processor(t) - before; used > 20*time.Millisecond {
		t.Errorf("%v of a processor in 0.5 s", used)
	}
	hold.Close()
	wg.Wait()
}

func fileAddr(t testing.TB, f *os.File) string {
	t.Helper()
	a := sockaddr(t, f)
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(a.Port))
}

// BenchmarkNode is a new connection for each request, two workers: what the one who
// deals needs of a processor, beside Node's own primary.
func BenchmarkNode(b *testing.B) {
	b.Run("loop", func(b *testing.B) {
		l := loop(b)
		files := sockets(b, 1, 4096)
		d := open(b, l, DoorOptions{Policy: spec.BalanceRoundRobin, Sockets: files})
		for i := range 2 {
			startNode(b, d, fmt.Sprint("w", i))
		}
		to := sockaddr(b, files[0])
		measure(b, to, func() time.Duration { return l.processor(b) })
	})
	b.Run("node", func(b *testing.B) {
		free := sockets(b, 1, 0)[0]
		to := sockaddr(b, free)
		free.Close()
		cmd := exec.Command("node", script(b, nodePrimary))
		cmd.Env = append(os.Environ(), "PORT="+strconv.Itoa(to.Port))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		defer cmd.Wait()
		defer cmd.Process.Kill()
		if _, err := out.Read(make([]byte, 10)); err != nil {
			b.Fatal(err)
		}
		measure(b, to, func() time.Duration { return processorOf(b, cmd.Process.Pid) })
	})
}

func measure(b *testing.B, to unix.SockaddrInet4, used func() time.Duration) {
	warm := func() { request(b, to) }
	for range 200 {
		warm()
	}
	before := used()
	b.ResetTimer()
	run(b, 32, warm)
	b.ReportMetric(float64((used()-before).Nanoseconds())/1000/float64(b.N), "primary-µs/conn")
}

// request is one connection and one request.
func request(t testing.TB, to unix.SockaddrInet4) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &to); err != nil {
		t.Error(err)
		return
	}
	_, _ = unix.Write(fd, []byte("GET / HTTP/1.1\r\nhost: x\r\n\r\n"))
	var p [1024]byte
	for total := 0; ; {
		n, err := unix.Read(fd, p[:])
		if n <= 0 || err != nil {
			if total == 0 {
				t.Error("no answer")
			}
			return
		}
		total += n
	}
}

// processorOf is the processor time of another process: in steps of 10 ms.
func processorOf(t testing.TB, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}
