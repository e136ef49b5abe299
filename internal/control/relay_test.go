package control

import (
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// relay stands between a client and a server, and can cut what goes through it.
type relay struct {
	path string

	mu     sync.Mutex
	target string
	gate   chan struct{} // closed: new connections may pass
	conns  []net.Conn
	back   strings.Builder // what the server has said
	wg     sync.WaitGroup
}

func newRelay(t *testing.T, target string) *relay {
	t.Helper()
	r := &relay{path: filepath.Join(tempDir(t), "r.sock"), target: target, gate: make(chan struct{})}
	close(r.gate)
	l, err := net.Listen("unix", r.path)
	if err != nil {
		t.Fatal(err)
	}
	r.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.wg.Go(func() { r.pass(c) })
		}
	})
	t.Cleanup(func() { l.Close(); r.cut(); r.wg.Wait() })
	return r
}

func (r *relay) pass(c net.Conn) {
	defer c.Close()
	r.mu.Lock()
	r.conns = append(r.conns, c)
	gate := r.gate
	r.mu.Unlock()
	<-gate
	r.mu.Lock()
	target := r.target
	r.mu.Unlock()
	s, err := net.Dial("unix", target)
	if err != nil {
		return
	}
	defer s.Close()
	r.mu.Lock()
	r.conns = append(r.conns, s)
	r.mu.Unlock()
	r.wg.Go(func() { io.Copy(s, c); s.Close() })
	io.Copy(io.MultiWriter(c, r), s)
}

// Write notes what the server says.
func (r *relay) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.back.Write(p)
}

// passed waits until the server has said text.
func (r *relay) passed(t *testing.T, text string) {
	t.Helper()
	eventually(t, "the stream", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return strings.Contains(r.back.String(), text)
	})
}

// cut closes every connection.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		c.Close()
	}
	r.conns = nil
}

// hold lets no connection through until letGo.
func (r *relay) hold() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gate = make(chan struct{})
}

func (r *relay) letGo() { close(r.gate) }

// to sends new connections elsewhere.
func (r *relay) to(target string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.target = target
}
