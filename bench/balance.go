package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// program is one that inherits its sockets, for the choice of a balance.
type program struct {
	name, command, dir, path string
}

// measureBalances compares shared with slots for programs that accept by
// themselves: new connections, and how long the slow ones take.
func (b *bench) measureBalances() error {
	hello := filepath.Join(b.dir, "hello")
	build := exec.Command("go", "build", "-o", hello, "./examples/hello")
	build.Dir, build.Stderr = b.root, os.Stderr
	if err := build.Run(); err != nil {
		return err
	}
	t := &b.balances
	t.columns = []string{"shared", "slots"}
	for _, p := range []program{
		{"Go", hello, filepath.Join(b.root, "examples", "hello"), "/"},
		{"gunicorn, one request at a time, 20 ms each", "gunicorn --workers 1 app:app", filepath.Join(b.root, "examples", "gunicorn"), "/?ms=20"},
	} {
		rate, slow := t.newRow(p.name+": new connections", "1/s"), t.newRow(p.name+": 99 of 100 answered within", "ms")
		for range b.rounds {
			for _, balance := range t.columns {
				note("%s, %s", p.name, balance)
				if err := b.balance(p, balance, rate, slow); err != nil {
					return fmt.Errorf("%s, %s: %w", p.name, balance, err)
				}
			}
		}
	}
	return nil
}

func (b *bench) balance(p program, balance string, rate, slow *row) (err error) {
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	m := &muster{binary: b.peers[0].(*muster).binary, home: filepath.Join(b.dir, "balance")}
	if err := os.MkdirAll(m.home, 0o700); err != nil {
		return err
	}
	yaml := fmt.Sprintf("version: 1\napps:\n  web:\n    command: %s\n    dir: %s\n    workers: 4\n    listen: %s\n    balance: %s\n", p.command, p.dir, addr, balance)
	if err := os.WriteFile(filepath.Join(m.home, "muster.yaml"), []byte(yaml), 0o600); err != nil {
		return err
	}
	if err := m.command("up", "-d"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.stop()) }()
	if !wait(time.Minute, func() bool {
		resp, err := http.Get("http://" + addr + "/")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	}) {
		return errors.New("it does not serve")
	}
	if _, _, err := hammer("http://"+addr+p.path, time.Second, true); err != nil {
		return err
	}
	answers, late, err := hammer("http://"+addr+p.path, loadTime, true)
	if err != nil {
		return err
	}
	rate.note(balance, answers)
	slow.note(balance, float64(late.Microseconds())/1000)
	return nil
}
