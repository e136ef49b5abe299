package show

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/muster-run/muster/test/rig"
)

// Program is one of the real programs, with what it promises.
type Program struct {
	// Name of the folder below examples/ and of its app.
	Name string
	// Fresh and Kept: a reload loses no request of clients with new
	// connections, or with kept ones.
	Fresh, Kept bool
	// Forks: a child of the worker answers, so that pids are seen there only.
	Forks bool
}

// Programs are those of examples/ that answer HTTP.
func Programs() []Program {
	return []Program{
		{Name: "hello", Fresh: true, Kept: true},
		{Name: "node", Fresh: true, Kept: true},
		{Name: "puma", Fresh: true, Kept: true},
		{Name: "gunicorn", Fresh: true, Forks: true},
		{Name: "unicorn", Fresh: true, Forks: true},
		{Name: "lighttpd", Fresh: true},
		{Name: "haproxy", Fresh: true, Kept: true},
		// uvicorn hangs up on what it has accepted and not yet read.
		{Name: "uvicorn"},
	}
}

// ByName finds a program.
func ByName(name string) Program {
	for _, p := range Programs() {
		if p.Name == name {
			return p
		}
	}
	panic("no program " + name)
}

var (
	listenLine = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	buildLine  = regexp.MustCompile(`(?m)^ *build: .*\n`)
)

// site is a deployed program: a project with releases and an address.
type site struct {
	*rig.Project
	*rig.Releases
	addr string
}

// deploy makes a project of an example: its own muster.yaml, at a free address,
// with dir pointing at the symlink that names the current release. edit, where
// given, changes the text of muster.yaml.
func deploy(t testing.TB, name string, edit func(yaml string) string) site {
	t.Helper()
	from := filepath.Join(rig.Root(), "examples", name)
	text, err := os.ReadFile(filepath.Join(from, "muster.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	addr := rig.Addr(t)
	yaml := listenLine.ReplaceAllString(string(text), addr)
	yaml = strings.Replace(yaml, "dir: .", "dir: current", 1)
	yaml = buildLine.ReplaceAllString(yaml, "")
	yaml = strings.Replace(yaml, "command: ./hello", "command: "+rig.Prop()+" serve "+rig.Hello(), 1)
	if edit != nil {
		yaml = edit(yaml)
	}
	s := site{Project: rig.New(t, yaml), addr: addr}
	s.Releases = s.Project.Releases(from)
	if name == "lighttpd" { // names its address a second time
		s.moveLighttpd(t, from)
	}
	return s
}

// moveLighttpd makes release 2, whose configuration has the free address.
func (s site) moveLighttpd(t testing.TB, from string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(from, "lighttpd.conf"))
	if err != nil {
		t.Fatal(err)
	}
	host, port, _ := strings.Cut(s.addr, ":")
	conf := strings.Replace(string(text), `"127.0.0.1"`, `"`+host+`"`, 1)
	s.Always("lighttpd.conf", strings.Replace(conf, "8085", port, 1))
	s.Next(nil)
}

// slow returns an edit that sets the number of workers.
func workers(n string) func(string) string {
	return func(yaml string) string { return strings.Replace(yaml, "workers: 2", "workers: "+n, 1) }
}
