package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// plain is the server that every contender runs, unchanged.
	plain = `require("http").createServer((req, res) => res.end("hello\n")).listen(process.env.PORT, "127.0.0.1");`
	// forks is Node's own primary, as its documentation has it.
	forks = `
const cluster = require("cluster");
if (cluster.isPrimary) for (let i = 0; i < 2; i++) cluster.fork();
else require("./plain.js");`
	// clusterWorkers is how many workers each contender has; alone has one.
	clusterWorkers = 2
	loadTime       = 3 * time.Second
)

// contender runs plain.js in one way.
type contender struct {
	column string
	start  func(addr string) error
	// primary is the processes that hand connections out; nil: none does.
	primary func() ([]int, error)
	stop    func() error
}

// measureClusters compares the ways to serve one port with Node.js workers: new
// connections and kept ones, and what the primary pays for each connection.
func (b *bench) measureClusters() error {
	for name, text := range map[string]string{"plain.js": plain, "forks.js": forks} {
		if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	t := &b.clusters
	fresh, kept := t.newRow("new connections", "1/s"), t.newRow("requests over kept connections", "1/s")
	cost, memory := t.newRow("CPU of the primary for a connection", "µs"), t.newRow("resident memory of the primary", "MB")
	all := b.contenders()
	for _, c := range all {
		t.columns = append(t.columns, c.column)
	}
	for range b.rounds {
		for _, c := range all {
			note("%s", c.column)
			if err := b.contend(c, fresh, kept, cost, memory); err != nil {
				return fmt.Errorf("%s: %w", c.column, err)
			}
		}
	}
	return nil
}

func (b *bench) contend(c contender, fresh, kept, cost, memory *row) (err error) {
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	if err := c.start(addr); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	if !wait(time.Minute, func() bool {
		resp, err := http.Get("http://" + addr + "/")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	}) {
		return errors.New("it does not serve")
	}
	<-time.After(time.Second)
	if _, err := wrk(addr, time.Second, false); err != nil { // warms it up
		return err
	}
	var pids []int
	if c.primary != nil {
		if pids, err = c.primary(); err != nil {
			return err
		}
	}
	before := sum(pids, cpuTime)
	rate, err := wrk(addr, loadTime, true)
	if err != nil {
		return err
	}
	fresh.note(c.column, rate)
	if pids != nil {
		cost.note(c.column, float64((sum(pids, cpuTime)-before).Microseconds())/(rate*loadTime.Seconds()))
	}
	if rate, err = wrk(addr, loadTime, false); err != nil {
		return err
	}
	kept.note(c.column, rate)
	if pids != nil {
		memory.note(c.column, float64(sum(pids, rss))/1e6)
	}
	return nil
}

var (
	requestsLine = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
	slowLine     = regexp.MustCompile(`99%\s+([\d.]+\w+)`)
)

// wrk asks as fast as it can and returns the answers in a second.
func wrk(addr string, span time.Duration, closing bool) (float64, error) {
	rate, _, err := hammer("http://"+addr+"/", span, closing)
	return rate, err
}

// hammer returns the answers in a second, and the time within which 99 of 100 came.
func hammer(url string, span time.Duration, closing bool) (rate float64, slow time.Duration, err error) {
	args := []string{"--latency", "-t1", "-c32", "-d" + fmt.Sprint(int(span.Seconds())) + "s"}
	if closing {
		args = append(args, "-H", "Connection: close")
	}
	out, err := output("wrk", append(args, url)...)
	if err != nil {
		return 0, 0, err
	}
	m, p := requestsLine.FindStringSubmatch(out), slowLine.FindStringSubmatch(out)
	if m == nil || p == nil || strings.Contains(out, "Non-2xx") {
		return 0, 0, fmt.Errorf("wrk says: %s", out)
	}
	rate, err = strconv.ParseFloat(m[1], 64)
	if err != nil {
		return 0, 0, err
	}
	slow, err = time.ParseDuration(p[1])
	return rate, slow, err
}

func (b *bench) contenders() []contender {
	var all []contender
	for _, balance := range []string{"slots", "round-robin", "shared"} {
		m := &muster{binary: b.peers[0].(*muster).binary, home: filepath.Join(b.dir, balance)}
		all = append(all, contender{
			column: "muster " + balance, primary: m.pids, stop: m.stop,
			start: func(addr string) error { return m.cluster(filepath.Join(b.dir, "plain.js"), balance, addr) },
		})
	}
	own, alone := &script{dir: b.dir, file: "forks.js"}, &script{dir: b.dir, file: "plain.js"}
	pm2 := &pm2Peer{program: b.peers[2].(*pm2Peer).program, home: filepath.Join(b.dir, "p2")}
	return append(all,
		contender{column: "Node's cluster", start: own.start, primary: own.pids, stop: own.stop},
		contender{column: "PM2", primary: pm2.pids, stop: pm2.stop, start: func(addr string) error {
			return pm2.cluster(b.dir, "plain.js", clusterWorkers, addr)
		}},
		contender{column: "one process alone", start: alone.start, stop: alone.stop},
	)
}

// cluster starts a Node.js program that listens by itself.
func (m *muster) cluster(file, balance, addr string) error {
	if err := os.MkdirAll(m.home, 0o700); err != nil {
		return err
	}
	_, port, _ := strings.Cut(addr, ":")
	yaml := fmt.Sprintf("version: 1\napps:\n  web:\n    command: node %s\n    workers: %d\n    balance: %s\n    env: {PORT: \"%s\"}\n",
		file, clusterWorkers, balance, port)
	if err := os.WriteFile(filepath.Join(m.home, "muster.yaml"), []byte(yaml), 0o600); err != nil {
		return err
	}
	return m.command("up", "-d")
}

// script is a Node.js program by itself.
type script struct {
	dir, file string
	cmd       *exec.Cmd
}

func (s *script) start(addr string) error {
	_, port, _ := strings.Cut(addr, ":")
	s.cmd = exec.Command("node", s.file)
	s.cmd.Dir, s.cmd.Env, s.cmd.Stderr = s.dir, append(os.Environ(), "PORT="+port), os.Stderr
	return s.cmd.Start()
}

func (s *script) pids() ([]int, error) { return []int{s.cmd.Process.Pid}, nil }

func (s *script) stop() error {
	err := s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Wait() // it ends by the signal
	return err
}
