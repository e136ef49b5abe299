package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/muster-run/muster/spec"
)

// value is the type of a field, bound to the variable it fills. It is the one
// source of how the field is read, shown, checked by editors and documented.
type value interface {
	// decode fills the variable; it is called only when the key was written.
	decode(d *decoder, path string, n *node)
	// show is the variable as it would be written, nil when it says nothing.
	show(path string) *shown
	// schema is the JSON schema of what decode takes.
	schema() schema
	// kind names the type in the reference.
	kind() string
}

// field is one key of a map.
type field struct {
	key   string
	value value
	// def is the default as it would be written, "" when there is none.
	def string
	doc string
}

// decoder fills values from nodes and collects problems.
type decoder struct {
	// file is the configuration's name as printed; base its absolute directory.
	file, base string
	vars       *variables
	problems   []Problem
	places     map[string]spot
	origins    map[string]string
	envFiles   map[string][]assignment
	// meant are the paths of mistyped keys: nothing more is said of those.
	meant map[string]bool
	// quiet is set while the defaults are decoded again for each app.
	quiet bool
}

// spot is a place in a named file.
type spot struct {
	file string
	place
	// inherited: it is under defaults.
	inherited bool
}

func (s spot) String() string {
	if s.line == 0 {
		return s.file
	}
	return fmt.Sprintf("%s:%d:%d", s.file, s.line, s.column)
}

func (d *decoder) problem(path string, at place, fix, format string, args ...any) {
	d.problemIn(d.file, at, spec.Problem{Path: path, Text: fmt.Sprintf(format, args...), Fix: fix})
}

func (d *decoder) problemIn(file string, at place, p spec.Problem) {
	if !d.quiet {
		d.problems = append(d.problems, Problem{Problem: p, File: file, Line: at.line, Column: at.column})
	}
}

// invalid reports an error of one of spec's readers.
func (d *decoder) invalid(path string, at place, err error) {
	var bad *spec.Invalid
	if errors.As(err, &bad) {
		d.problem(path, at, bad.Fix, "%s", bad.Text)
	} else if err != nil {
		d.problem(path, at, "", "%s", err)
	}
}

// mark remembers where a path was written.
func (d *decoder) mark(path string, n *node) {
	d.markAt(path, spot{file: d.file, place: n.at}, n.from)
}

func (d *decoder) markAt(path string, at spot, from string) {
	at.inherited = d.quiet
	d.places[path] = at
	if from != "" {
		d.origins[path] = at.String() + ", " + from
	} else {
		d.origins[path] = at.String()
	}
}

// move says that what was written at path set other paths in truth.
func (d *decoder) move(path string, to ...string) {
	origin, ok := d.origins[path]
	delete(d.origins, path)
	for _, p := range to {
		if ok {
			d.origins[p] = origin
		}
		if at, ok := d.places[path]; ok {
			d.places[p] = at
		}
	}
}

// text returns the text of a scalar, and reports anything else.
func (d *decoder) text(path string, n *node, want string) (string, bool) {
	switch {
	case n.shape != scalar:
		d.problem(path, n.at, "write "+want, "this is %s", n.shape)
	case n.null:
		d.problem(path, n.at, "write "+want+", or remove the key", "there is no value")
	default:
		return n.text, true
	}
	return "", false
}

// object decodes a map into fields. An empty section counts as an empty map.
func (d *decoder) object(path string, n *node, fields []field) {
	if n == nil || n.shape == scalar && n.null {
		return
	}
	if n.shape != object {
		d.problem(path, n.at, "write a map with "+keys(fields, 4), "this is %s", n.shape)
		return
	}
	for _, p := range n.pairs {
		if !hasKey(fields, p.key) {
			d.unknown(path, p, fields)
		}
	}
	for _, f := range fields {
		if v := n.get(f.key); v != nil {
			d.field(join(path, f.key), v, n, f)
		}
	}
}

func (d *decoder) field(path string, v, parent *node, f field) {
	d.mark(path, v)
	if v.shape == object || v.shape == list {
		// The place of a block is its key: that is where people look. A map has
		// no origin of its own, only what it holds.
		if v.shape == object {
			delete(d.origins, path)
		}
		for _, p := range parent.pairs {
			if p.key == f.key {
				d.places[path] = spot{d.file, p.at, d.quiet}
			}
		}
	}
	f.value.decode(d, path, v)
}

func (d *decoder) unknown(path string, p pair, fields []field) {
	where := "at the top"
	if path != "" {
		where = "in " + path
	}
	fix := ""
	var names []string
	for _, f := range fields {
		names = append(names, f.key)
	}
	if near := spec.Nearest(p.key, names); near != "" {
		fix = fmt.Sprintf("did you mean %q?", near)
		d.meant[join(path, near)] = true
	} else if path == "" && p.value.get("command") != nil {
		fix = "indent it, so that it stands in apps"
	} else if hint := foreignKeys()[p.key]; hint != "" {
		fix = "write " + hint
		d.meant[join(path, hint)] = true
	} else {
		fix = "the keys are " + keys(fields, len(fields))
	}
	d.problem("", p.at, fix, "unknown key %q %s", p.key, where)
}

// foreignKeys are what other tools call things.
func foreignKeys() map[string]string {
	return map[string]string{
		"services": "apps", "processes": "apps", "programs": "apps",
		"script": "command", "exec": "command", "cmd": "command", "args": "command", "entrypoint": "command",
		"interpreter": "command", "cwd": "dir", "working_dir": "dir", "workingdirectory": "dir", "directory": "dir",
		"instances": "workers", "replicas": "workers", "scale": "workers", "numprocs": "workers", "processes_num": "workers",
		"environment": "env", "healthcheck": "health", "readiness_probe": "ready", "liveness_probe": "health",
		"kill_timeout": "stop.timeout", "stop_grace_period": "stop.timeout", "stop_signal": "stop.signal", "stopsignal": "stop.signal",
		"max_memory_restart": "limits.memory", "autorestart": "restart", "sockets": "listen", "bind": "listen",
		"port": "ports", "logs": "log", "logging": "log", "depends": "depends_on", "after": "depends_on", "user_group": "group",
	}
}

func hasKey(fields []field, key string) bool {
	for _, f := range fields {
		if f.key == key {
			return true
		}
	}
	return false
}

// keys lists the first n keys: "command, dir, env …".
func keys(fields []field, n int) string {
	var names []string
	for i, f := range fields {
		if i == n {
			return strings.Join(names, ", ") + " …"
		}
		names = append(names, f.key)
	}
	return strings.Join(names, ", ")
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
