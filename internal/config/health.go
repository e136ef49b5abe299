package config

import (
	"strings"

	"github.com/muster-run/muster/internal/config/table"
	"github.com/muster-run/muster/internal/config/tree"
	"github.com/muster-run/muster/spec"
)

func healthTargets() []string { return []string{"http", "tcp", "cmd"} }

func healthFields(h *spec.Health) []table.Field {
	is := func(kind string) func() bool { return func() bool { return h.Type == kind } }
	set := func(kind string) func() {
		return func() { h.Type, h.URL, h.Address, h.Command = kind, "", "", nil }
	}
	return []table.Field{
		table.Key("http", before{table.Text(&h.URL, "a URL"), set("http"), is("http"), nil}, "", "A URL; a status of 200 to 399 passes. `{{port:NAME}}` stands for the worker's port, as in tcp and cmd."),
		table.Key("tcp", before{table.Text(&h.Address, "an address"), set("tcp"), is("tcp"), nil}, "", "HOST:PORT, or the path of a UNIX socket; a connection passes."),
		table.Key("cmd", before{table.Argv(&h.Command), set("cmd"), is("cmd"), nil}, "", "A command; exit code 0 passes."),
		table.Key("interval", table.Duration(&h.Interval), "10s", "The time between checks."),
		table.Key("start_interval", table.Duration(&h.StartInterval), "1s", "The time between checks until the first success."),
		table.Key("timeout", table.Duration(&h.Timeout), "1s", "The time one check may take."),
		table.Key("failures", table.Whole(&h.Failures, 1, 1000000), "3", "Failures in a row that make a worker unhealthy: it is replaced."),
		table.Key("grace", table.Duration(&h.Grace), "0s", "The time until the first success; 0: ready.timeout."),
	}
}

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

func (v healthValue) Decode(d *table.Decoder, path string, n *tree.Node) {
	switch h := v.fresh(); {
	case n.Shape == tree.Scalar && (n.Text == "none" || n.Text == "false"):
		*v.p = nil
	case n.Shape == tree.Scalar && !n.Null:
		short, err := spec.ParseHealth(n.Text)
		d.Invalid(path, n.At, err)
		h.Type, h.URL, h.Address, h.Command = short.Type, short.URL, short.Address, short.Command
		if err == nil {
			*v.p = h
			d.Move(path, table.Join(path, h.Type))
		}
	case n.Shape == tree.Object:
		v.object(d, path, n, h)
		*v.p = h
	default:
		d.Problem(path, n.At, "write a URL, tcp:ADDR, cmd:COMMAND, none, or a map with one of http, tcp and cmd", "this is no health check")
	}
}

// object reads a map, in which one target must stand.
func (healthValue) object(d *table.Decoder, path string, n *tree.Node, h *spec.Health) {
	var targets []string
	for _, key := range healthTargets() {
		if n.Get(key) != nil {
			targets = append(targets, key)
		}
	}
	if len(targets) > 1 {
		d.Problem(path, n.At, "keep one of them", "a check has one target, this one has %s", strings.Join(targets, " and "))
	}
	d.Object(path, n, healthFields(h))
	for _, key := range healthTargets() {
		if d.Excused(table.Join(path, key)) {
			d.Excuse(path)
		}
	}
}

func (v healthValue) Show(path string) *table.Shown {
	if *v.p == nil {
		return nil
	}
	return table.ShowFields(path, healthFields(*v.p))
}

func (v healthValue) Schema() table.Schema {
	s := table.ObjectSchema(healthFields(&spec.Health{}))
	return table.Schema{"anyOf": []table.Schema{
		{"type": "string", "pattern": `^(https?://|tcp:|cmd:|none$)|\$\{`}, {"const": false}, s,
	}}
}
func (v healthValue) Kind() string { return "URL, tcp:ADDR, cmd:COMMAND, none, map" }
