package node

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/muster-run/muster/spec"
	"github.com/muster-run/muster/test/rig"
)

// clients of each kind in a load.
const clients = 16

// site is a deployed program: a project with releases and an address.
type site struct {
	*rig.Project
	*rig.Releases
	addr string
}

// Cell is one unmodified program of test/node/programs under one release of
// Node.js, as so many workers, balanced in one way.
type Cell struct {
	Program string
	// Node is "" (the machine's), "20", "22", "24" or "26".
	Node    string
	Workers int
	Balance spec.Balance // "": what muster chooses
}

// String names the cell.
func (c Cell) String() string {
	balance, node := string(c.Balance), c.Node
	if balance == "" {
		balance = "auto"
	}
	if node == "" {
		node = "machine's"
	}
	return fmt.Sprintf("%s, %s node, %d workers, %s", c.Program, node, c.Workers, balance)
}

// Programs are those whose workers can be asked over a connection.
func Programs() []string {
	return []string{"http", "https", "http2", "express", "fastify", "ws", "socketio", "threads", "unix", "dgram"}
}

// Majors are the releases of Node.js that are tried.
func Majors() []string { return []string{"20", "22", "24", "26"} }

// Balances are the ways to balance Node.js workers.
func Balances() []spec.Balance {
	return []spec.Balance{spec.BalanceSlots, spec.BalanceRoundRobin, spec.BalanceShared}
}

// nodeSite deploys a program; more is added to its app, indented by 4.
func nodeSite(t testing.TB, c Cell, more string) site {
	t.Helper()
	from := filepath.Join(rig.Root(), "test", "node", "programs")
	addr := rig.Addr(t)
	host, port, _ := net.SplitHostPort(addr)
	file := c.Program
	env := map[string]string{"HOST": host, "PORT": port, "NODE_PATH": rig.NodeModules(t)}
	switch c.Program {
	case "unix":
		file = "http"
		dir, err := os.MkdirTemp("/tmp", "m")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		addr = filepath.Join(dir, "sock")
		env["SOCKET"] = addr
	case "https":
		env["CERT"], env["KEY"] = certificate(t)
	}
	yaml := fmt.Sprintf("version: 1\napps:\n  web:\n    dir: current\n    command: [%q, %s.js]\n    workers: %d\n", rig.Node(t, c.Node), file, c.Workers)
	if c.Balance != "" {
		yaml += fmt.Sprintf("    balance: %s\n", c.Balance)
	}
	yaml += "    env:\n"
	for k, v := range env {
		yaml += fmt.Sprintf("      %s: %q\n", k, v)
	}
	s := site{Project: rig.New(t, yaml+more), addr: addr}
	s.Releases = s.Project.Releases(from)
	return s
}

// Program starts a program, has every worker answer, scales it, reloads it and
// stops it.
func Program(t *testing.T, c Cell) string {
	s := nodeSite(t, c, "")
	s.Up()
	how := s.balances()
	if c.Balance != "" && how != string(c.Balance) && c.Program != "dgram" {
		t.Errorf("%s was asked for, status says %q", c.Balance, how)
	}
	ask := s.asker(t, c)
	s.everyWorker(t, ask, "1", how)
	before := s.PIDs("web")
	release := s.Next(nil)
	s.Must("reload", "web")
	rig.Disjoint(t, before, s.PIDs("web"))
	s.everyWorker(t, ask, release, how)
	s.Must("scale", "web", "+1")
	s.everyWorker(t, ask, release, how)
	s.Must("scale", "web", "-1")
	s.everyWorker(t, ask, release, how)
	s.Down()
	return "served by every worker, reloaded, scaled, stopped; " + how
}

var balanceWord = regexp.MustCompile(`\((\S+)\)$`)

// balances is how the listeners are balanced, as status says.
func (s site) balances() string {
	set := map[string]bool{}
	for _, w := range s.App("web").Workers {
		if w.Node == nil {
			continue
		}
		for _, l := range w.Node.Listening {
			if m := balanceWord.FindStringSubmatch(l); m != nil {
				set[m[1]] = true
			}
		}
	}
	var words []string
	for w := range set {
		words = append(words, w)
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}

// everyWorker asks until each worker of the pool has answered, all with a release.
// Of workers that share one socket the kernel may wake the same one again and
// again, so there any answers will do.
func (s site) everyWorker(t *testing.T, ask func() (string, error), release, how string) {
	t.Helper()
	want := map[int]bool{}
	for _, pid := range s.PIDs("web") {
		want[pid] = true
	}
	if len(want) == 0 {
		t.Fatal("no worker is ready")
	}
	rig.Until(t, 30*time.Second, "an answer of every worker", func() bool {
		for range 10 {
			text, err := ask()
			if err != nil {
				t.Fatalf("a request failed: %v", err)
			}
			m := answerPattern.FindStringSubmatch(text)
			if m == nil {
				t.Fatalf("answer %q", text)
			}
			if m[1] != release && m[1] != "1" {
				t.Fatalf("release %s answers, %s is wanted", m[1], release)
			}
			pid, _ := strconv.Atoi(m[2])
			delete(want, pid)
		}
		return len(want) == 0 || strings.Contains(how, string(spec.BalanceShared))
	})
}

var answerPattern = regexp.MustCompile(`release=(\S+) pid=(\d+)`)

// asker is a client for the program, with a new connection for each request.
func (s site) asker(t *testing.T, c Cell) func() (string, error) {
	t.Helper()
	switch c.Program {
	case "dgram":
		return func() (string, error) { return askDatagram(s.addr) }
	case "socketio":
		return func() (string, error) { return askSocketIO(t, s.addr) }
	case "http2":
		transport := &http.Transport{DisableKeepAlives: true, Protocols: new(http.Protocols)}
		transport.Protocols.SetUnencryptedHTTP2(true)
		return func() (string, error) { return get(&http.Client{Transport: transport}, "http://"+s.addr+"/") }
	case "https":
		pool := &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(8)}
		return func() (string, error) {
			transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: pool}
			return get(&http.Client{Transport: transport}, "https://"+s.addr+"/")
		}
	}
	network := "tcp"
	if strings.HasPrefix(s.addr, "/") {
		network = "unix"
	}
	transport := &http.Transport{DisableKeepAlives: true}
	transport.DialContext = dialer(network, s.addr)
	return func() (string, error) { return get(&http.Client{Transport: transport}, "http://localhost/") }
}

func get(c *http.Client, url string) (string, error) {
	c.Timeout = 10 * time.Second
	resp, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

// askDatagram sends one and waits for its answer; each from a port of its own.
func askDatagram(addr string) (string, error) {
	conn, err := net.Dial("udp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("hello")); err != nil {
		return "", err
	}
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	b := make([]byte, 2048)
	n, err := conn.Read(b)
	return string(b[:n]), err
}

// askSocketIO has the real client say something over a WebSocket.
func askSocketIO(t *testing.T, addr string) (string, error) {
	cmd := exec.Command(rig.Node(t, ""), "-e", `
const socket = require('socket.io-client')('http://'+process.argv[1], { transports: ['websocket'], reconnection: false });
socket.on('connect_error', (err) => { console.error(err.message); process.exit(1); });
socket.emit('say', 'hello', (text) => { console.log(text); process.exit(0); });`, addr)
	cmd.Env = append(os.Environ(), "NODE_PATH="+rig.NodeModules(t))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, stderr.String())
	}
	return string(out), err
}

// certificate makes a self-signed one.
func certificate(t testing.TB) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", private)
}
