package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// workload is what a peer shall run.
type workload struct {
	n    int
	argv []string // of an idle worker
	// addr and dir are those of a Node.js server instead.
	addr, dir string
}

// rival is one process supervisor. The methods block until the peer's own command
// is done.
type rival interface {
	name() string
	start(workload) error
	// pids of the processes that supervise.
	pids() ([]int, error)
	reload() error
	stop() error
}

// runIn runs a command; its output is shown when it fails.
func runIn(dir string, env []string, argv ...string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	log := filepath.Join(dir, "command.log") // a daemon may keep it open: no pipe
	f, err := os.Create(log)
	if err != nil {
		return err
	}
	defer f.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, append(os.Environ(), env...), f, f
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(log)
		return fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, text)
	}
	return nil
}

type muster struct {
	binary, home string
	alone        bool // without a keeper
}

func (m *muster) name() string {
	if m.alone {
		return "--no-keeper"
	}
	return "muster"
}

func (m *muster) env() []string {
	return []string{"MUSTER_STATE_DIR=" + m.home + "/s", "MUSTER_RUNTIME_DIR=" + m.home + "/r"}
}

func (m *muster) command(args ...string) error {
	return runIn(m.home, m.env(), append([]string{m.binary}, args...)...)
}

func (m *muster) start(w workload) error {
	if err := os.MkdirAll(m.home, 0o700); err != nil {
		return err
	}
	app := fmt.Sprintf("    command: [%s]\n", strings.Join(w.argv, ", "))
	if w.addr != "" {
		app = fmt.Sprintf("    command: node server.js\n    dir: %s\n    listen: %s\n", w.dir, w.addr)
	}
	yaml := fmt.Sprintf("version: 1\napps:\n  web:\n    workers: %d\n%s", w.n, app)
	if err := os.WriteFile(filepath.Join(m.home, "muster.yaml"), []byte(yaml), 0o600); err != nil {
		return err
	}
	if m.alone {
		return m.command("up", "-d", "--no-keeper")
	}
	return m.command("up", "-d")
}

// pids are those of the keeper, if there is one, and of the agent.
func (m *muster) pids() ([]int, error) {
	cmd := exec.Command(m.binary, "status", "--json")
	cmd.Dir, cmd.Env = m.home, append(os.Environ(), m.env()...)
	out, err := cmd.Output() // exit code 3: something is just being replaced
	var status struct {
		Agent  int `json:"agent_pid"`
		Keeper int `json:"keeper_pid"`
	}
	if bad := json.Unmarshal(out, &status); bad != nil {
		return nil, errors.Join(err, bad)
	}
	if status.Keeper == 0 {
		return []int{status.Agent}, nil
	}
	return []int{status.Keeper, status.Agent}, nil
}

func (m *muster) reload() error { return m.command("reload", "web") }
func (m *muster) stop() error   { return m.command("down") }

type pm2Peer struct{ program, home string }

func (p *pm2Peer) name() string { return "PM2" }

func (p *pm2Peer) command(args ...string) error {
	env := []string{"PM2_HOME=" + p.home, "PM2_DISCRETE_MODE=true"}
	return runIn(p.home, env, append([]string{p.program}, args...)...)
}

func (p *pm2Peer) start(w workload) error {
	if w.addr != "" {
		return p.cluster(w.dir, "server.js", w.n, w.addr)
	}
	return p.launch(map[string]any{
		"script": w.argv[0], "args": w.argv[1:], "instances": w.n, "exec_mode": "fork", "interpreter": "none",
	})
}

// cluster starts a Node.js program in cluster mode.
func (p *pm2Peer) cluster(dir, script string, n int, addr string) error {
	_, port, _ := strings.Cut(addr, ":")
	return p.launch(map[string]any{
		"script": script, "cwd": dir, "env": map[string]string{"PORT": port},
		"instances": n, "exec_mode": "cluster", "interpreter": "node",
	})
}

func (p *pm2Peer) launch(app map[string]any) error {
	if err := os.MkdirAll(p.home, 0o700); err != nil {
		return err
	}
	app["name"], app["kill_timeout"], app["pmx"] = "web", 30000, false
	text, err := json.Marshal(map[string]any{"apps": []any{app}})
	if err != nil {
		return err
	}
	file := filepath.Join(p.home, "ecosystem.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	return p.command("start", file)
}

func (p *pm2Peer) pids() ([]int, error) { return pidFile(filepath.Join(p.home, "pm2.pid")) }
func (p *pm2Peer) reload() error        { return p.command("reload", "web") }

func (p *pm2Peer) stop() error {
	err := p.command("kill")
	return errors.Join(err, os.RemoveAll(p.home))
}

func pidFile(name string) ([]int, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	return []int{pid}, err
}

type supervisord struct{ home string }

func (s *supervisord) name() string { return "supervisor" }

func (s *supervisord) conf() string { return filepath.Join(s.home, "supervisord.conf") }

func (s *supervisord) start(w workload) error {
	if err := os.MkdirAll(s.home, 0o700); err != nil {
		return err
	}
	section := fmt.Sprintf("[program:web]\ncommand=%s\n", strings.Join(w.argv, " "))
	if w.addr != "" {
		section = fmt.Sprintf("[fcgi-program:web]\nsocket=tcp://%s\ndirectory=%s\ncommand=/bin/sh -c 'exec 3<&0 </dev/null; LISTEN_FDS=1 exec node server.js'\n", w.addr, w.dir)
	}
	conf := fmt.Sprintf(`[supervisord]
pidfile=%[1]s/pid
logfile=%[1]s/log
minfds=8192
[unix_http_server]
file=%[1]s/sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://%[1]s/sock
%[2]sprocess_name=%%(process_num)03d
numprocs=%[3]d
stopwaitsecs=30
autorestart=true
stdout_logfile=%[1]s/out-%%(process_num)d
stderr_logfile=%[1]s/err-%%(process_num)d
`, s.home, section, w.n)
	if err := os.WriteFile(s.conf(), []byte(conf), 0o600); err != nil {
		return err
	}
	return runIn(s.home, nil, "supervisord", "-c", s.conf())
}

func (s *supervisord) pids() ([]int, error) { return pidFile(filepath.Join(s.home, "pid")) }

func (s *supervisord) reload() error {
	return runIn(s.home, nil, "supervisorctl", "-c", s.conf(), "restart", "web:*")
}

func (s *supervisord) stop() error {
	pids, err := s.pids()
	if err != nil {
		return err
	}
	err = runIn(s.home, nil, "supervisorctl", "-c", s.conf(), "shutdown")
	if !wait(time.Minute, func() bool { return !alive(pids[0]) }) {
		err = errors.Join(err, errors.New("supervisord does not end"))
	}
	return errors.Join(err, os.RemoveAll(s.home))
}
