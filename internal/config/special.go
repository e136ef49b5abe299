package config

import (
	"fmt"
	"strings"

	"github.com/muster-run/muster/spec"
)

// before is a value that changes something else first; visible, when not nil,
// says whether it is shown.
type before struct {
	value
	first   func()
	visible func() bool
	sets    []string // the keys beside it that it is short for
}

func never() bool { return false }

func (v before) decode(d *decoder, path string, n *node) {
	v.first()
	v.value.decode(d, path, n)
	if v.sets != nil {
		var to []string
		for _, key := range v.sets {
			to = append(to, join(parent(path), key))
		}
		d.move(path, to...)
	}
}

func (v before) show(path string) *shown {
	if v.visible != nil && !v.visible() {
		return nil
	}
	return v.value.show(path)
}

// commandLine is an app's command; finish splits a string once shell is known.
type commandLine struct{ a *appDraft }

func (v commandLine) decode(d *decoder, path string, n *node) {
	v.a.Command, v.a.isScript, v.a.at = nil, false, n.at
	if n.shape == list {
		v.a.Command = d.texts(path, n)
		return
	}
	v.a.script, v.a.isScript = d.text(path, n, `a command such as "node server.js" or [node, server.js]`)
}

func (v commandLine) show(path string) *shown {
	if v.a.Shell && len(v.a.Command) == 1 {
		return showText(path, v.a.Command[0])
	}
	return showWords(path, v.a.Command)
}
func (v commandLine) schema() schema { return argv{}.schema() }
func (v commandLine) kind() string   { return "command" }

// signal is a signal by any of its names.
type signal struct{ p *string }

func (v signal) decode(d *decoder, path string, n *node) {
	s, ok := d.text(path, n, "a signal such as SIGTERM")
	if !ok || s == "" {
		return
	}
	name, err := spec.ParseSignal(s)
	d.invalid(path, n.at, err)
	if err == nil {
		*v.p = name
	}
}

func (v signal) show(path string) *shown { return showText(path, *v.p) }
func (v signal) schema() schema          { return schema{"type": []string{"string", "integer"}} }
func (v signal) kind() string            { return "signal" }

// healthValue is a check, or none.
type healthValue struct{ p **spec.Health }

// fresh is what the keys are laid over: what there is already, or the defaults.
func (v healthValue) fresh() *spec.Health {
	h := spec.DefaultHealth()
	if *v.p != nil {
		h = **v.p
	}
	return &h
}

func (v healthValue) decode(d *decoder, path string, n *node) {
	switch h := v.fresh(); {
	case n.shape == scalar && (n.text == "none" || n.text == "false"):
		*v.p = nil
	case n.shape == scalar && !n.null:
		short, err := spec.ParseHealth(n.text)
		d.invalid(path, n.at, err)
		h.Type, h.URL, h.Address, h.Command = short.Type, short.URL, short.Address, short.Command
		if err == nil {
			*v.p = h
			d.move(path, join(path, h.Type))
		}
	case n.shape == object:
		var targets []string
		for _, key := range []string{"http", "tcp", "cmd"} {
			if n.get(key) != nil {
				targets = append(targets, key)
			}
		}
		if len(targets) > 1 {
			d.problem(path, n.at, "keep one of them", "a check has one target, this one has %s", strings.Join(targets, " and "))
		}
		d.object(path, n, healthFields(h))
		d.meant[path] = d.meant[path+".http"] || d.meant[path+".tcp"] || d.meant[path+".cmd"]
		*v.p = h
	default:
		d.problem(path, n.at, "write a URL, tcp:ADDR, cmd:COMMAND, none, or a map with one of http, tcp and cmd", "this is no health check")
	}
}

func (v healthValue) show(path string) *shown {
	if *v.p == nil {
		return nil
	}
	return showFields(path, healthFields(*v.p))
}

func (v healthValue) schema() schema {
	s := objectSchema(healthFields(&spec.Health{}))
	return schema{"anyOf": []schema{
		{"type": "string", "pattern": `^(https?://|tcp:|cmd:|none$)|\$\{`}, {"const": false}, s,
	}}
}
func (v healthValue) kind() string { return "URL, tcp:ADDR, cmd:COMMAND, none, map" }

// readyShort reads "notify", "alive:1s" or "output:REGEX".
func (d *decoder) readyShort(path string, n *node, r *spec.Ready) {
	mode, rest, has := strings.Cut(n.text, ":")
	rest = strings.TrimSpace(rest)
	switch {
	case has && mode == "alive":
		r.Mode, r.Pattern = spec.ReadyAlive, ""
		d.move(path, path+".mode", path+".for")
		d.invalid(path, n.at, r.For.UnmarshalText([]byte(rest)))
	case has && mode == "output":
		r.Mode, r.Pattern = spec.ReadyOutput, rest
		d.move(path, path+".mode", path+".pattern")
	default:
		r.Pattern = ""
		if n.text == "output" {
			d.problem(path, n.at, "write `ready: {output: REGEX}`", "output needs the expression to wait for")
			return
		}
		choice[spec.ReadyMode]{p: &r.Mode, words: readyModes()}.decode(d, path, n)
		d.move(path, path+".mode")
	}
}

// dependsValue is a list of names or a map of name to condition. A list
// replaces what there is, a map is merged into it.
type dependsValue struct{ p *[]spec.Dependency }

func conditions() []string { return []string{"started", "ready", "completed"} }

func (v dependsValue) decode(d *decoder, path string, n *node) {
	if n.shape != object {
		*v.p = nil
		for _, name := range d.texts(path, n) {
			// The condition depends on the other's type: see Load.
			*v.p = append(*v.p, spec.Dependency{App: name})
		}
		return
	}
	for _, p := range n.pairs {
		var c spec.Condition
		at := fmt.Sprintf("%s[%d]", path, v.index(p.key))
		d.mark(at, p.value)
		choice[spec.Condition]{p: &c, words: conditions(), hints: map[string]string{
			"healthy": "ready", "service_healthy": "ready", "service_started": "started",
			"service_completed_successfully": "completed", "process_healthy": "ready", "process_completed_successfully": "completed",
		}}.decode(d, at, p.value)
		if i := v.index(p.key); i < len(*v.p) {
			(*v.p)[i].Condition = c
		} else {
			*v.p = append(*v.p, spec.Dependency{App: p.key, Condition: c})
		}
	}
}

// index is where a name stands, or would.
func (v dependsValue) index(name string) int {
	for i, dep := range *v.p {
		if dep.App == name {
			return i
		}
	}
	return len(*v.p)
}

func (v dependsValue) show(path string) *shown {
	if len(*v.p) == 0 {
		return nil
	}
	s := &shown{path: path, pairs: []shownPair{}}
	for i, dep := range *v.p {
		s.add(dep.App, showText(fmt.Sprintf("%s[%d]", path, i), string(dep.Condition)))
	}
	return s
}

func (v dependsValue) schema() schema {
	return schema{"anyOf": []schema{
		words{}.schema(),
		{"type": "object", "additionalProperties": orVariable(schema{"enum": conditions()})},
	}}
}
func (v dependsValue) kind() string { return "list of names, map of name to condition" }
