package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/muster-run/muster/internal/config/envfile"
	"github.com/muster-run/muster/internal/config/table"
	"github.com/muster-run/muster/internal/config/tree"
	"github.com/muster-run/muster/spec"
)

// envFile reads files into the environment.
type envFile struct {
	env  *map[string]string
	from *reader
}

func (v envFile) Decode(d *table.Decoder, path string, n *tree.Node) {
	for i, name := range d.Texts(path, n) {
		at := n.At
		if n.Shape == tree.List && i < len(n.Items) {
			at = n.Items[i].At
		}
		v.from.readEnv(path, at, name, v.env)
	}
}

func (v envFile) Show(string) *table.Shown { return nil } // what it held stands in env
func (v envFile) Schema() table.Schema     { return table.Words(nil).Schema() }
func (v envFile) Kind() string             { return "file, list of files" }

// readEnv reads one file of env_file into an environment.
func (r *reader) readEnv(path string, at tree.Place, name string, env *map[string]string) {
	name, optional := strings.CutPrefix(name, "?")
	file := r.absolute(name)
	lines, read := r.envFiles[file]
	if !read {
		var err error
		lines, err = r.assignments(file, name)
		if err != nil && !(optional && errors.Is(err, fs.ErrNotExist)) {
			r.d.Problem(path, at, "create it, or write ?"+name+" if it may be missing", "cannot read %s: %s", file, cause(err))
			return
		}
		r.envFiles[file] = lines
	}
	if *env == nil && len(lines) > 0 {
		*env = map[string]string{}
	}
	for _, a := range lines {
		(*env)[a.Name] = a.Value
		spot := table.Spot{File: name, Place: tree.Place{Line: a.Line, Column: 1}}
		r.d.MarkAt(table.Join(table.Parent(path), "env."+a.Name), spot, "")
	}
}

// readDotEnv reads .env beside the file, where there is one.
func (r *reader) readDotEnv() {
	lines, err := r.assignments(filepath.Join(r.base, ".env"), ".env")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.d.ProblemIn(".env", tree.Place{}, spec.Problem{Text: "cannot be read: " + cause(err), Fix: "correct its permissions, or remove it"})
	}
	r.vars.DotEnv = map[string]string{}
	for _, a := range lines {
		r.vars.DotEnv[a.Name] = a.Value
	}
}

// assignments reads a file of NAME=value lines and reports what is wrong in it
// under its name.
func (r *reader) assignments(file, name string) ([]envfile.Assignment, error) {
	data, err := readLimited(file)
	if err != nil {
		return nil, err
	}
	return envfile.Parse(string(data), func(line int, text, fix string) {
		r.d.ProblemIn(name, tree.Place{Line: line, Column: 1}, spec.Problem{Text: text, Fix: fix})
	}), nil
}

// slotMap is an environment for each of some slots.
type slotMap struct{ p *map[int]map[string]string }

func (v slotMap) Decode(d *table.Decoder, path string, n *tree.Node) {
	for _, p := range d.Pairs(path, n, "a map of slots: {0: {NAME: value}}") {
		slot, err := strconv.Atoi(p.Key)
		if err != nil || slot < 0 || slot >= spec.MaxWorkers || p.Key != strconv.Itoa(slot) {
			d.Problem(path, p.At, fmt.Sprintf("slots are numbers from 0 to %d", spec.MaxWorkers-1), "there is no slot %q", p.Key)
			continue
		}
		env := (*v.p)[slot]
		table.TextMap(&env).Decode(d, table.Join(path, p.Key), p.Value)
		if *v.p == nil {
			*v.p = map[int]map[string]string{}
		}
		if env != nil {
			(*v.p)[slot] = env
		}
	}
}

func (v slotMap) Show(path string) *table.Shown {
	if len(*v.p) == 0 {
		return nil
	}
	s := table.ShowMap(path)
	for _, slot := range slices.Sorted(maps.Keys(*v.p)) {
		env := (*v.p)[slot]
		key := strconv.Itoa(slot)
		s.Add(key, table.TextMap(&env).Show(table.Join(path, key)))
	}
	return s
}

func (v slotMap) Schema() table.Schema {
	return table.Schema{
		"type": []string{"object", "null"}, "additionalProperties": false,
		"patternProperties": table.Schema{"^[0-9]{1,4}$": table.TextMap(nil).Schema()},
	}
}
func (v slotMap) Kind() string { return "map of slot to map of texts" }
