package config

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/config/envfile"
	"github.com/muster-run/muster/internal/config/table"
	"github.com/muster-run/muster/internal/config/tree"
	"github.com/muster-run/muster/spec"
)

// Options say what to load, and from where.
type Options struct {
	// Path of the file; "" searches: MUSTER_CONFIG of Environ, then muster.yaml
	// or muster.yml in Dir and up to the root of its repository (outside of one:
	// in Dir only), then $XDG_CONFIG_HOME/muster/muster.yaml, then
	// /etc/muster/muster.yaml.
	Path string
	// Dir is where the search starts and what a relative Path is relative to;
	// "" is the current directory.
	Dir string
	// Environ ("K=V") is what ${VAR} in the file refers to, and (filtered by
	// BaseEnviron) what becomes Spec.Environ.
	Environ []string
	// DotEnv also reads .env beside the file, under Environ.
	DotEnv bool
}

// Loaded is a configuration and where it came from.
type Loaded struct {
	Spec spec.Spec
	// Origins says for each path of the configuration ("apps.web.stop.timeout")
	// where its value comes from: "muster.yaml:12:5", "muster.yaml:12:5,
	// ${PORT} from .env", "prod.env:3:1", "default", "environment" or "flag".
	Origins map[string]string
	// File is the absolute path of the file, "" for FromRun.
	File string
}

// Load reads, checks and completes a configuration. The error is a *fault.Fault
// with code fault.Config; its Output has one line per problem. Without a file it
// wraps ErrNoFile.
func Load(o Options) (*Loaded, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fault.New(fault.Config, "the current directory cannot be found: %w", err)
	}
	environ := environMap(o.Environ)
	file, err := find(o.Path, dir, environ)
	if err != nil {
		return nil, err
	}
	data, err := readLimited(file)
	if err != nil {
		f := fault.New(fault.Config, "cannot read %s: %s", file, cause(err))
		f.Err = err
		return nil, f.WithFix("check the path and its permissions, or name another file with --config")
	}
	r := newReader(printed(dir, file), filepath.Dir(file), environ)
	if o.DotEnv {
		r.readDotEnv()
	}
	l := &Loaded{File: file, Origins: r.d.Origins}
	l.Spec = spec.Spec{File: file, Environ: BaseEnviron(o.Environ), Control: spec.Control{Mode: 0o600}}
	r.load(data, &l.Spec)
	if len(r.d.Problems) > 0 {
		return nil, asFault(printed(dir, file), r.d.Problems)
	}
	l.fillOrigins()
	return l, nil
}

// reader makes a spec of one file, and of those that it refers to.
type reader struct {
	d *table.Decoder
	// base is the absolute directory of the file.
	base string
	vars *tree.Variables
	// envFiles holds what has been read for env_file, by absolute path.
	envFiles map[string][]envfile.Assignment
}

func newReader(name, base string, environ map[string]string) *reader {
	d := table.NewDecoder(name)
	d.Hint = hint
	return &reader{d: d, base: base, vars: &tree.Variables{Environ: environ}, envFiles: map[string][]envfile.Assignment{}}
}

// load fills the spec from the file's text; problems stay in r.d.
func (r *reader) load(data []byte, s *spec.Spec) {
	n := tree.Parse(data, r.vars, func(at tree.Place, text, fix string) { r.d.Problem("", at, fix, "%s", text) })
	if n == nil {
		return
	}
	r.root(n, s)
	r.project(s)
	slices.SortStableFunc(s.Apps, func(a, b spec.App) int { return cmp.Compare(a.Name, b.Name) })
	fillConditions(s.Apps)
	r.d.Add(s.Validate())
}

// project names the project: MUSTER_PROJECT, the file, or the directory.
func (r *reader) project(s *spec.Spec) {
	if name, from, ok := r.vars.Lookup("MUSTER_PROJECT"); ok && name != "" {
		s.Project, r.d.Origins["name"] = name, from
		r.d.Places["name"] = table.Spot{File: "MUSTER_PROJECT"}
	}
	if s.Project == "" && r.d.Origins["name"] == "" {
		s.Project = cleanName(filepath.Base(r.base), 64, "project")
	}
}

// absolute is a path of the file, which is relative to its directory.
func (r *reader) absolute(path string) string { return absolute(r.base, path) }

func absolute(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

// fillOrigins gives each value that was not written its origin.
func (l *Loaded) fillOrigins() {
	document(l.Spec).Leaves(func(path string) {
		for p := path; p != ""; p = table.Parent(p) {
			if o, ok := l.Origins[p]; ok {
				l.Origins[path] = o
				return
			}
		}
		l.Origins[path] = "default"
	})
}

// cleanName makes a name of any text: lower case, "-" for what is not allowed.
func cleanName(s string, most int, otherwise string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-' {
			return r
		}
		return '-'
	}, strings.ToLower(s))
	s = strings.Trim(s, ".-_")
	if len(s) > most {
		s = strings.TrimRight(s[:most], ".-_")
	}
	return cmp.Or(s, otherwise)
}
