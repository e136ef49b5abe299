package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/muster-run/muster/fault"
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

// Problem is one mistake and its place.
type Problem struct {
	spec.Problem
	// File as it is printed, "" for flags; Line and Column from 1, 0 when there
	// is no place.
	File         string
	Line, Column int
}

// String is "FILE:LINE:COLUMN: PATH: TEXT; FIX".
func (p Problem) String() string {
	where := p.spot().String()
	if where == "" {
		return p.Problem.String()
	}
	return where + ": " + p.Problem.String()
}

func (p Problem) spot() spot { return spot{file: p.File, place: place{p.Line, p.Column}} }

// problemList is the cause in the fault of Load and FromRun.
type problemList []Problem

func (l problemList) Error() string {
	if len(l) == 1 {
		return "1 problem"
	}
	return fmt.Sprintf("%d problems", len(l))
}

// Problems lists the mistakes behind an error of Load or FromRun, in the order
// of the file; nil for any other error.
func Problems(err error) []Problem {
	var l problemList
	if errors.As(err, &l) {
		return l
	}
	return nil
}

// asFault makes the one error that tells all problems.
func asFault(what string, problems []Problem) *fault.Fault {
	list := tidy(problems)
	lines := make([]string, len(list))
	for i, p := range list {
		lines[i] = p.String()
	}
	f := fault.New(fault.Config, "%s has %w", what, list)
	f.Output = lines
	return f
}

// tidy sorts problems by place and drops what was told already there.
func tidy(problems []Problem) problemList {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return slices.CompactFunc(problems, func(a, b Problem) bool {
		// A value from the defaults is wrong once, not once for each app.
		return a.File == b.File && a.Line == b.Line && a.Column == b.Column && a.Text == b.Text && a.Line > 0
	})
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
	d := &decoder{
		file: printed(dir, file), base: filepath.Dir(file),
		vars:   &variables{environ: environ},
		places: map[string]spot{}, origins: map[string]string{}, envFiles: map[string][]assignment{}, meant: map[string]bool{},
	}
	if o.DotEnv {
		d.readDotEnv()
	}
	l := &Loaded{File: file, Origins: d.origins}
	l.Spec = spec.Spec{File: file, Environ: BaseEnviron(o.Environ), Control: spec.Control{Mode: 0o600}}
	d.load(data, &l.Spec)
	if len(d.problems) > 0 {
		return nil, asFault(d.file, d.problems)
	}
	l.fillOrigins()
	return l, nil
}

// load fills the spec from the file's text; problems stay in d.
func (d *decoder) load(data []byte, s *spec.Spec) {
	n := parse(data, d.vars, func(at place, text, fix string) { d.problem("", at, fix, "%s", text) })
	if n == nil {
		return
	}
	d.root(n, s)
	d.project(s)
	slices.SortStableFunc(s.Apps, func(a, b spec.App) int { return cmp.Compare(a.Name, b.Name) })
	fillConditions(s.Apps)
	d.validate(*s)
}

// project names the project: MUSTER_PROJECT, the file, or the directory.
func (d *decoder) project(s *spec.Spec) {
	if name, from, ok := d.vars.lookup("MUSTER_PROJECT"); ok && name != "" {
		s.Project, d.origins["name"] = name, from
		d.places["name"] = spot{file: "MUSTER_PROJECT"}
	}
	if s.Project == "" && d.origins["name"] == "" {
		s.Project = cleanName(filepath.Base(d.base), 64, "project")
	}
}

// validate adds the problems that spec finds, each at the place of its path.
// What has a problem already is left alone: it would be a consequence.
func (d *decoder) validate(s spec.Spec) {
	places, paths := map[spot]bool{}, maps.Clone(d.meant)
	maps.DeleteFunc(paths, func(_ string, meant bool) bool { return !meant })
	for _, p := range d.problems {
		if p.Line > 0 {
			places[p.spot()] = true
		}
		if p.Path != "" {
			paths[p.Path] = true
		}
	}
	for _, p := range s.Validate() {
		at := d.placeOf(p.Path)
		inherited := at.inherited
		at.inherited = false
		if places[at] || within(p.Path, paths) {
			continue
		}
		if rest, ok := strings.CutPrefix(p.Path, "apps."); ok && inherited {
			_, key, _ := strings.Cut(rest, ".")
			p.Path = "defaults." + key
		}
		d.problemIn(at.file, at.place, p)
	}
}

// within says whether a path, or what it is in, is one of paths.
func within(path string, paths map[string]bool) bool {
	for ; path != ""; path = parent(path) {
		if paths[path] {
			return true
		}
	}
	return false
}

// placeOf is where a path was written, or what it is in.
func (d *decoder) placeOf(path string) spot {
	for p := path; p != ""; p = parent(p) {
		if at, ok := d.places[p]; ok {
			return at
		}
	}
	return spot{file: d.file}
}

func parent(path string) string { return path[:max(strings.LastIndexAny(path, ".["), 0)] }

// fillOrigins gives each value that was not written its origin.
func (l *Loaded) fillOrigins() {
	document(l.Spec).leaves(func(path string) {
		for p := path; p != ""; p = parent(p) {
			if o, ok := l.Origins[p]; ok {
				l.Origins[path] = o
				return
			}
		}
		if _, ok := l.Origins[path]; !ok {
			l.Origins[path] = "default"
		}
	})
}

func (d *decoder) absolute(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(d.base, path)
}

// readDotEnv reads .env beside the file, where there is one.
func (d *decoder) readDotEnv() {
	lines, err := readEnvFile(filepath.Join(d.base, ".env"), func(line int, text, fix string) {
		d.problemIn(".env", place{line, 1}, spec.Problem{Text: text, Fix: fix})
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.problemIn(".env", place{}, spec.Problem{Text: "cannot be read: " + cause(err), Fix: "correct its permissions, or remove it"})
	}
	d.vars.dotenv = map[string]string{}
	for _, a := range lines {
		d.vars.dotenv[a.name] = a.value
	}
}

// readEnv reads one file of env_file into an environment.
func (d *decoder) readEnv(path string, at place, name string, env *map[string]string) {
	name, optional := strings.CutPrefix(name, "?")
	file := d.absolute(name)
	lines, read := d.envFiles[file]
	if !read {
		var err error
		lines, err = readEnvFile(file, func(line int, text, fix string) {
			d.problemIn(name, place{line, 1}, spec.Problem{Text: text, Fix: fix})
		})
		if err != nil && !(optional && errors.Is(err, fs.ErrNotExist)) {
			d.problem(path, at, "create it, or write ?"+name+" if it may be missing", "cannot read %s: %s", file, cause(err))
			return
		}
		d.envFiles[file] = lines
	}
	if *env == nil && len(lines) > 0 {
		*env = map[string]string{}
	}
	for _, a := range lines {
		(*env)[a.name] = a.value
		d.markAt(path[:strings.LastIndexByte(path, '.')]+".env."+a.name, spot{file: name, place: place{a.line, 1}}, "")
	}
}

// printed is how a file is called in messages: relative where that is short.
func printed(dir, file string) string {
	rel, err := filepath.Rel(dir, file)
	if err != nil || strings.HasPrefix(rel, filepath.Join("..", "..")) {
		return file
	}
	return rel
}

// ErrNoFile: there is no configuration file in any of the places.
var ErrNoFile = errors.New("there is no muster.yaml")

// find returns the absolute path of the file to load.
func find(path, dir string, environ map[string]string) (string, error) {
	if path == "" {
		path = environ["MUSTER_CONFIG"]
	}
	if path != "" {
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		return filepath.Clean(path), nil
	}
	places := candidates(dir, environ)
	for _, file := range places {
		if info, err := os.Stat(file); err == nil && !info.IsDir() {
			return file, nil
		}
	}
	f := fault.New(fault.Config, "%w", ErrNoFile)
	f.Output = []string{"looked for:"}
	for _, file := range places {
		f.Output = append(f.Output, "  "+file)
	}
	return "", f.WithFix("write one (`muster init` helps), name one with --config FILE, or run a program without: muster run -- COMMAND")
}

// candidates are the places of the file, best first.
func candidates(dir string, environ map[string]string) (files []string) {
	for _, d := range upToRepository(dir) {
		files = append(files, filepath.Join(d, "muster.yaml"), filepath.Join(d, "muster.yml"))
	}
	home := environ["XDG_CONFIG_HOME"]
	if home == "" && environ["HOME"] != "" {
		home = filepath.Join(environ["HOME"], ".config")
	}
	if filepath.IsAbs(home) {
		files = append(files, filepath.Join(home, "muster", "muster.yaml"))
	}
	return append(files, "/etc/muster/muster.yaml")
}

// upToRepository lists dir and its parents up to the one that holds .git; only
// dir when there is none, so that nobody's file in /tmp or / is taken up.
func upToRepository(dir string) (dirs []string) {
	for d := dir; ; d = filepath.Dir(d) {
		dirs = append(dirs, d)
		if _, err := os.Lstat(filepath.Join(d, ".git")); err == nil {
			return dirs
		}
		if d == filepath.Dir(d) {
			return dirs[:1]
		}
	}
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
	return orElse(s, otherwise)
}
