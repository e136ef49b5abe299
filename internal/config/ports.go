package config

import (
	"slices"
	"strings"

	"github.com/muster-run/muster/internal/config/table"
	"github.com/muster-run/muster/internal/config/tree"
	"github.com/muster-run/muster/spec"
)

// portsValue is a map of name to port; it is merged into what there is.
type portsValue struct{ p *[]spec.Port }

func (v portsValue) Decode(d *table.Decoder, path string, n *tree.Node) {
	for _, p := range d.Pairs(path, n, "a map of names: {http: 8000}") {
		i := slices.IndexFunc(*v.p, func(o spec.Port) bool { return o.Name == p.Key })
		known := i >= 0
		if !known {
			i = len(*v.p)
			*v.p = append(*v.p, spec.Port{Name: p.Key, Increment: 1})
		}
		port := &(*v.p)[i]
		at := table.Join(path, p.Key)
		d.Mark(at, p.Value)
		if p.Value.Shape != tree.Object {
			// A wrong number stays 0: Validate's word on it is not told again.
			portNumber(port).Decode(d, at, p.Value)
			d.Move(at, at+".port")
			continue
		}
		d.Place(at, p.At)
		d.Object(at, p.Value, portFields(port))
		if p.Value.Get("port") == nil && !known {
			d.Problem(at, p.At, "write port: 8000", "the number is missing")
		}
	}
}

func portNumber(p *spec.Port) table.Value { return table.Whole(&p.Number, 1, 65535) }

func portFields(p *spec.Port) []table.Field {
	return []table.Field{
		table.Key("port", portNumber(p), "", "The port of slot 0. Required."),
		table.Key("increment", table.Whole(&p.Increment, 0, 65535), "1", "Added for each slot; 0: all workers bind the same port (SO_REUSEPORT)."),
		table.Key("env", table.Text(&p.Env, "a name such as PORT"), "", "The variable that carries it; default: PORT for the first, PORT_NAME for the others."),
	}
}

func (v portsValue) Show(path string) *table.Shown {
	if len(*v.p) == 0 {
		return nil
	}
	s := table.ShowMap(path)
	for i := range *v.p {
		p := (*v.p)[i]
		s.Add(p.Name, table.ShowFields(table.Join(path, p.Name), portFields(&p)))
	}
	return s
}

func (v portsValue) Schema() table.Schema {
	number := portNumber(&spec.Port{}).Schema()
	return table.Schema{
		"type": []string{"object", "null"}, "propertyNames": table.Schema{"pattern": "^[a-z0-9_-]+$"},
		"additionalProperties": table.Schema{"anyOf": []table.Schema{number, table.ObjectSchema(portFields(&spec.Port{}))}},
	}
}
func (v portsValue) Kind() string { return "map of name to number or map" }

// namePorts gives variables to the ports without.
func namePorts(all []spec.Port) {
	for i := range all {
		switch {
		case all[i].Env != "":
		case i == 0:
			all[i].Env = "PORT"
		default:
			all[i].Env = "PORT_" + strings.ToUpper(strings.ReplaceAll(all[i].Name, "-", "_"))
		}
	}
}
