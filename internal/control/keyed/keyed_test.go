package keyed

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
)

func TestMain(m *testing.M) {
	// net/http keeps half a connection for half a second, so that the answer arrives.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

const key = "0123456789abcdef0123456789abcdef"

// rig is a Server on a real port.
type rig struct {
	*testing.T
	server  *Server
	address string
	client  *http.Client

	mu     sync.Mutex
	asked  []string
	warned []*fault.Fault
	block  chan struct{} // the API waits for it; nil: it does not
}

func begin(t *testing.T, change func(*Options)) *rig {
	t.Helper()
	g := &rig{T: t, client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	o := Options{Key: key, API: g, Warn: g.warn, delay: time.Millisecond}
	if change != nil {
		change(&o)
	}
	g.server = New(o)
	t.Cleanup(func() { g.server.Close(0) })
	g.move()
	return g
}

func (g *rig) move() {
	g.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		g.Fatal(err)
	}
	g.address = l.Addr().String()
	g.server.Move(l)
}

// ServeHTTP stands for the control API.
func (g *rig) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	g.mu.Lock()
	g.asked = append(g.asked, fmt.Sprintf("%s %s %d %v", r.Method, r.URL.Path, len(body), err))
	block := g.block
	g.mu.Unlock()
	if block != nil {
		<-block
	}
	io.WriteString(w, "done")
}

func (g *rig) warn(f *fault.Fault) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.warned = append(g.warned, f)
}

func (g *rig) seen() (asked []string, warned []*fault.Fault) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append(asked, g.asked...), append(warned, g.warned...)
}

// request makes one; header is "Name: value" pairs, Host included.
func (g *rig) request(body string, header ...string) *http.Request {
	g.Helper()
	r, err := http.NewRequestWithContext(g.Context(), "POST", "http://"+g.address+"/v1/stop", strings.NewReader(body))
	if err != nil {
		g.Fatal(err)
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Add(name, value)
	}
	return r
}

func (g *rig) send(body string, header ...string) (code int, text string) {
	g.Helper()
	answer, err := g.client.Do(g.request(body, header...))
	if err != nil {
		g.Fatal(err)
	}
	defer answer.Body.Close()
	all, err := io.ReadAll(answer.Body)
	if err != nil {
		g.Fatal(err)
	}
	return answer.StatusCode, string(all)
}

// until polls.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for !done() {
		select {
		case <-deadline:
			t.Fatal(what)
		case <-time.After(time.Millisecond):
		}
	}
}

const good = "Authorization: Bearer " + key

// S1.9: the session key authorises.
func TestWithTheKey(t *testing.T) {
	g := begin(t, nil)
	for _, header := range [][]string{
		{good}, {"Authorization: bearer " + key}, {good, "Host: localhost:1"}, {good, "Host: [::1]:80"}, {good, "Host: 127.9.9.9"}, {good, "Host: LOCALHOST"},
	} {
		if code, text := g.send("{}", header...); code != 200 || text != "done" {
			t.Errorf("%v: %d %s", header, code, text)
		}
	}
}

// Without it, or from a page in a browser, nothing of a request is looked at.
func TestRefused(t *testing.T) {
	g := begin(t, nil)
	for _, c := range []struct {
		header []string
		code   int
	}{
		{nil, 401},
		{[]string{"Authorization: " + key}, 401},
		{[]string{"Authorization: Basic " + key}, 401},
		{[]string{"Authorization: Bearer "}, 401},
		{[]string{"Authorization: Bearer x" + key}, 401},
		{[]string{"Authorization: Bearer " + key + "x"}, 401},
		{[]string{"Authorization: Bearer " + key[:31]}, 401},
		{[]string{"Authorization: Bearer " + strings.ToUpper(key)}, 401},
		{[]string{good, good}, 401},
		{[]string{good, "Origin: http://127.0.0.1"}, 403},
		{[]string{good, "Origin: null"}, 403},
		{[]string{good, "Host: example.org"}, 403},
		{[]string{good, "Host: 127.0.0.1.example.org"}, 403},
		{[]string{good, "Host: 10.0.0.1:80"}, 403},
		{[]string{good, "Host: localhost.example.org"}, 403},
	} {
		code, text := g.send("{}", c.header...)
		var f api.Failure
		if err := json.Unmarshal([]byte(text), &f); err != nil || f.Error == nil || f.Error.Code != fault.Denied || f.Error.Fix == "" {
			t.Errorf("%v: %s", c.header, text)
		}
		if code != c.code || strings.Contains(text, key) {
			t.Errorf("%v: %d %s", c.header, code, text)
		}
	}
	asked, warned := g.seen()
	if len(asked) > 0 {
		t.Errorf("let through: %v", asked)
	}
	if len(warned) != 1 || warned[0].Code != fault.Denied || strings.Contains(warned[0].Text, key) {
		t.Errorf("warned: %v", warned)
	}
}

// An empty key is no key.
func TestNoKey(t *testing.T) {
	g := begin(t, func(o *Options) { o.Key = "" })
	if code, _ := g.send("{}", "Authorization: Bearer "); code != 401 {
		t.Error(code)
	}
}

func TestLongRequests(t *testing.T) {
	g := begin(t, nil)
	if code, _ := g.send(strings.Repeat("x", maxBody), good); code != 200 {
		t.Errorf("%d for what is allowed", code)
	}
	if code, _ := g.send(strings.Repeat("x", maxBody+1), good); code != 413 {
		t.Errorf("%d for one byte more", code)
	}
	r := g.request("", good)
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(strings.Repeat("x", 2*maxBody))), -1 // in chunks
	answer, err := g.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	asked, _ := g.seen()
	if len(asked) != 2 || asked[1] != fmt.Sprintf("POST /v1/stop %d http: request body too large", maxBody) {
		t.Errorf("%v", asked)
	}
	if code, _ := g.send("", good, "X: "+strings.Repeat("x", 2*maxHeader)); code != 431 {
		t.Errorf("%d for a long header", code)
	}
}

// Those who guess wait, a few at a time; who has the key never does.
func TestGuessing(t *testing.T) {
	g := begin(t, func(o *Options) { o.delay = time.Hour })
	for range maxRefused {
		c, err := net.Dial("tcp", g.address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	}
	until(t, "they are not delayed", func() bool { return len(g.server.refused) == maxRefused })
	if code, _ := g.send("{}"); code != 429 {
		t.Errorf("one more: %d", code)
	}
	if code, _ := g.send("{}", good); code != 200 {
		t.Errorf("with the key: %d", code)
	}
}

// Attempts are told once in a while, with how many there were.
func TestTries(t *testing.T) {
	var k tries
	var told []int
	for range 5 {
		k.count(time.Hour, func(n int) { told = append(told, n) })
	}
	k.told = time.Now().Add(-2 * time.Hour)
	k.count(time.Hour, func(n int) { told = append(told, n) })
	if len(told) != 2 || told[0] != 1 || told[1] != 5 {
		t.Error(told)
	}
}

// A listener that is given up answers what it was asked; the next one is there at once.
func TestMove(t *testing.T) {
	g := begin(t, nil)
	g.mu.Lock()
	g.block = make(chan struct{})
	g.mu.Unlock()
	first, answered := g.address, make(chan string, 1)
	go func() {
		_, text := g.send("{}", good)
		answered <- text
	}()
	until(t, "nothing was asked", func() bool { asked, _ := g.seen(); return len(asked) == 1 })
	g.move()
	block := g.block
	g.mu.Lock()
	g.block = nil
	g.mu.Unlock()
	if code, _ := g.send("{}", good); code != 200 {
		t.Errorf("the new one: %d", code)
	}
	close(block)
	if text := <-answered; text != "done" {
		t.Errorf("the old one: %q", text)
	}
	g.server.Move(nil)
	for _, address := range []string{first, g.address} {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			t.Errorf("%s is still open", address)
		}
	}
	if _, warned := g.seen(); len(warned) > 0 {
		t.Errorf("%v", warned)
	}
}

// After Close nothing is served any more.
func TestClosed(t *testing.T) {
	g := begin(t, nil)
	g.server.Close(time.Second)
	g.server.Close(time.Second)
	g.move()
	if c, err := net.Dial("tcp", g.address); err == nil {
		c.Close()
		t.Error("it is open")
	}
}

// A listener that breaks is told of, and another one can follow.
func TestBrokenListener(t *testing.T) {
	g := begin(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	g.server.Move(l)
	until(t, "nobody was told", func() bool { _, warned := g.seen(); return len(warned) == 1 && warned[0].Code == fault.Bind })
	g.move()
	if code, _ := g.send("{}", good); code != 200 {
		t.Error(code)
	}
}

// dial connects, and closes the connection at the end.
func (g *rig) dial() net.Conn {
	g.Helper()
	c, err := net.Dial("tcp", g.address)
	if err != nil {
		g.Fatal(err)
	}
	g.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// Who only holds connections keeps nobody out: of more than there are places for, those
// are closed that have been silent for longest.
func TestCrowd(t *testing.T) {
	g := begin(t, func(o *Options) { o.headerTime = time.Minute })
	var held []net.Conn
	for range 3 * maxConns {
		c := g.dial()
		io.WriteString(c, "POST /v1/stop HTTP/1.1\r\nHost: local") // and not a word more
		held = append(held, c)
	}
	for range 10 {
		if code, _ := g.send("{}", good); code != 200 {
			t.Error(code)
		}
	}
	if _, err := held[0].Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the first is still there: %v", err)
	}
}

// Those at work are not closed for others; their places are given back.
func TestAllAtWork(t *testing.T) {
	block := make(chan struct{})
	g := begin(t, nil)
	g.block = block
	codes := make(chan int, maxConns)
	for range maxConns {
		go func() {
			answer, err := g.client.Do(g.request("{}", good))
			if err != nil {
				codes <- -1
				return
			}
			answer.Body.Close()
			codes <- answer.StatusCode
		}()
	}
	until(t, "not all are at work", func() bool { asked, _ := g.seen(); return len(asked) == maxConns })
	if _, err := g.dial().Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one more was not closed: %v", err)
	}
	close(block)
	for range maxConns {
		if code := <-codes; code != 200 {
			t.Error(code)
		}
	}
	until(t, "places are not given back", func() bool {
		answer, err := g.client.Do(g.request("{}", good))
		if err == nil {
			answer.Body.Close()
		}
		return err == nil
	})
}

func FuzzIsHere(f *testing.F) {
	for _, host := range []string{"localhost", "[::1]:1", "127.0.0.1", "example.org", "[::ffff:127.0.0.1]", "::1", "["} {
		f.Add(host)
	}
	f.Fuzz(func(t *testing.T, host string) {
		name := strings.Trim(host, "[]")
		if h, _, err := net.SplitHostPort(host); err == nil {
			name = strings.Trim(h, "[]")
		}
		if !isHere(host) || strings.EqualFold(name, "localhost") {
			return
		}
		if ip := net.ParseIP(name); ip == nil || !ip.IsLoopback() {
			t.Errorf("%q", host)
		}
	})
}
