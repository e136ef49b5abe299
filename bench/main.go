package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/muster-run/muster/internal/cli"
	"github.com/muster-run/muster/internal/process"
)

func main() {
	if process.IsStep() { // this binary is as large as muster's: see stepCost
		process.RunStep()
	}
	if len(os.Args) > 1 && os.Args[1] == "as-muster" {
		os.Exit(cli.Run(os.Args[2:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
	}
	if len(os.Args) > 2 && os.Args[1] == "as-worker" {
		os.Exit(asWorker(os.Args[2]))
	}
	os.Exit(run())
}

func run() int {
	rounds := flag.Int("rounds", 5, "how often each measurement is repeated")
	most := flag.Int("workers", 500, "the largest number of idle workers")
	only := flag.String("only", "", "measure supervisors, clusters or operations only")
	flag.Parse()
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	b, err := prepare(dir)
	if err != nil {
		return fail(err)
	}
	b.rounds, b.most = *rounds, *most
	defer b.stopAll()
	for _, part := range []struct {
		name string
		run  func() error
	}{
		{"supervisors", b.measure}, {"clusters", b.measureClusters}, {"clusters", b.measureBalances}, {"operations", b.measureOperations},
	} {
		if err == nil && (*only == "" || *only == part.name) {
			err = part.run()
		}
	}
	if err != nil {
		return fail(err)
	}
	b.table.print(os.Stdout)
	b.clusters.print(os.Stdout)
	b.balances.print(os.Stdout)
	b.operations.print(os.Stdout)
	b.shared.print(os.Stdout)
	return 0
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "bench:", err)
	return 1
}

// bench is one run.
type bench struct {
	dir, root, prop string
	own             string // this binary
	peers           []rival
	rounds, most    int
	table           table // of the supervisors
	clusters        table // of ways to run Node.js workers
	balances        table // of ways to balance other programs
	operations      table // of ways to talk with a parent
	shared          table // of what workers share
}

// stopAll ends what a failed measurement has left running.
func (b *bench) stopAll() {
	for _, p := range b.peers {
		if pids, err := p.pids(); err == nil && alive(pids[0]) {
			_ = p.stop()
		}
	}
}

// prepare builds what is measured and finds the peers.
func prepare(dir string) (*bench, error) {
	root, err := output("go", "env", "GOMOD")
	if err != nil {
		return nil, err
	}
	b := &bench{dir: dir, root: filepath.Dir(root), prop: filepath.Join(dir, "prop")}
	if b.own, err = os.Executable(); err != nil {
		return nil, err
	}
	binary := filepath.Join(dir, "muster")
	for bin, pkg := range map[string]string{binary: "./cmd/muster", b.prop: "./test/prop"} {
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, pkg)
		cmd.Dir, cmd.Env, cmd.Stderr = b.root, append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("building %s: %w", pkg, err)
		}
	}
	pm2, err := output(filepath.Join(b.root, "scripts", "bench-deps.sh"))
	if err != nil {
		return nil, fmt.Errorf("installing PM2: %w", err)
	}
	b.peers = []rival{
		&muster{binary: binary, home: filepath.Join(dir, "m")},
		&muster{binary: binary, home: filepath.Join(dir, "a"), alone: true},
		&pm2Peer{program: pm2, home: filepath.Join(dir, "p")},
		&supervisord{home: filepath.Join(dir, "s")},
	}
	for _, p := range b.peers {
		b.table.columns = append(b.table.columns, p.name())
	}
	return b, nil
}

func output(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}
