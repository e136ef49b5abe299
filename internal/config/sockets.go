package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/muster-run/muster/spec"
)

// listenValue is an app's listeners. A text or a list replaces what there is, a
// map of names is merged into it.
type listenValue struct{ p *[]spec.Listener }

func (v listenValue) decode(d *decoder, path string, n *node) {
	switch n.shape {
	case object:
		v.named(d, path, n)
	case list:
		*v.p = nil
		for i, item := range n.items {
			d.listener(fmt.Sprintf("%s[%d]", path, i), item, v.p)
		}
	default:
		*v.p = nil
		if !n.null {
			d.listener(path+"[0]", n, v.p)
		}
	}
}

// named reads a map of name to address or to a map.
func (v listenValue) named(d *decoder, path string, n *node) {
	if n.get("address") != nil && n.get("address").shape == scalar {
		d.problem(path, n.at, "put it into a list: `- {address: …}`, or write {NAME: ADDRESS}", "these are the keys of one listener, not names of listeners")
		return
	}
	for _, p := range n.pairs {
		i := slices.IndexFunc(*v.p, func(l spec.Listener) bool { return l.Name == p.key })
		one := []spec.Listener{}
		d.listener(fmt.Sprintf("%s[%d]", path, indexOr(i, len(*v.p))), p.value, &one)
		if one[0].Name != "" && one[0].Name != p.key {
			d.problem(path, p.at, "keep one of them", "the listener has two names, %q and %q", p.key, one[0].Name)
		}
		one[0].Name = p.key
		if i >= 0 {
			(*v.p)[i] = one[0]
		} else {
			*v.p = append(*v.p, one[0])
		}
	}
}

func indexOr(i, other int) int {
	if i < 0 {
		return other
	}
	return i
}

// listener appends what n says, or a stand-in for what is wrong.
func (d *decoder) listener(path string, n *node, all *[]spec.Listener) {
	d.mark(path, n)
	if n.shape == object {
		d.listenerMap(path, n, all)
		return
	}
	s, ok := d.text(path, n, "an address such as :8000")
	if !ok {
		*all = append(*all, d.standIn(""))
		return
	}
	l, err := spec.ParseListen(s)
	if err != nil {
		d.invalid(path, n.at, err)
		_, name, _ := strings.Cut(s, "=")
		l = d.standIn(name)
	}
	*all = append(*all, l)
}

// standIn takes the place of a listener that is wrong, so that what refers to
// it by name or number is not reported as well. It passes Validate.
func (d *decoder) standIn(name string) spec.Listener {
	return spec.Listener{Name: name, Network: "fd", Address: fmt.Sprintf("wrong-%d", len(d.problems))}
}

func (d *decoder) listenerMap(path string, n *node, all *[]spec.Listener) {
	var w spec.Listener
	d.object(path, n, listenerFields(&w))
	address := w.Address
	if n.get("address") == nil {
		if !d.meant[path+".address"] {
			d.problem(path, n.at, "write address: :8000", "the address is missing")
		}
		*all = append(*all, d.standIn(w.Name))
		return
	}
	if n.get("network") != nil && w.Network != "" {
		address = w.Network + "://" + w.Address
	}
	l, err := spec.ParseListen(address)
	if err != nil {
		d.invalid(path+".address", n.get("address").at, err)
		*all = append(*all, d.standIn(w.Name))
		return
	}
	if w.Name != "" {
		l.Name = w.Name
	}
	if n.get("mode") != nil {
		l.Mode = w.Mode
	}
	l.Owner, l.Group, l.Backlog = w.Owner, w.Group, w.Backlog
	*all = append(*all, l)
}

func listenerFields(l *spec.Listener) []field {
	networks := []string{"tcp", "tcp4", "tcp6", "udp", "udp4", "udp6", "unix", "fd"}
	return []field{
		{"name", text[string]{&l.Name, "a name"}, "http", "What LISTEN_FDNAMES and `{{fd:NAME}}` call it."},
		{"network", choice[string]{p: &l.Network, words: networks}, "tcp", "The network; it may also stand in address."},
		{"address", text[string]{&l.Address, "an address such as :8000"}, "", "HOST:PORT, an absolute or relative path, or a descriptor. Required."},
		{"mode", mode(&l.Mode), "0600", "Mode of a UNIX socket's file."},
		{"owner", text[string]{&l.Owner, "a name or number"}, "", "Owner of the file; default: the app's user."},
		{"group", text[string]{&l.Group, "a name or number"}, "", "Group of the file."},
		{"backlog", whole[int]{&l.Backlog, 0, math.MaxInt32, nil}, "0", "Connections that may wait; 0: net.core.somaxconn."},
	}
}

func (v listenValue) show(path string) *shown {
	if len(*v.p) == 0 {
		return nil
	}
	s := &shown{path: path, items: []*shown{}}
	for i := range *v.p {
		l := (*v.p)[i]
		item := &shown{path: fmt.Sprintf("%s[%d]", path, i), pairs: []shownPair{}}
		for _, f := range listenerFields(&l) {
			if (f.key == "mode" && l.Network != "unix") || (f.key == "backlog" && l.Backlog == 0) {
				continue
			}
			if one := f.value.show(join(item.path, f.key)); one.text != "" {
				item.add(f.key, one)
			}
		}
		s.items = append(s.items, item)
	}
	return s
}

func (v listenValue) schema() schema {
	address := schema{"type": []string{"string", "integer"}}
	one := objectSchema(listenerFields(&spec.Listener{}))
	one["required"] = []string{"address"}
	return schema{"anyOf": []schema{
		address,
		{"type": "array", "items": schema{"anyOf": []schema{address, one}}},
		{
			"type": "object", "propertyNames": schema{"pattern": "^[a-z0-9_-]+$"},
			"additionalProperties": schema{"anyOf": []schema{address, one}},
		},
		{"type": "null"},
	}}
}

func (v listenValue) kind() string {
	return "address, list of addresses or maps, map of name to address"
}

// portsValue is a map of name to port; it is merged into what there is.
type portsValue struct{ p *[]spec.Port }

func (v portsValue) decode(d *decoder, path string, n *node) {
	if n.shape == scalar && n.null {
		return
	}
	if n.shape != object {
		d.problem(path, n.at, "write a map of names: {http: 8000}", "this is %s", n.shape)
		return
	}
	for _, p := range n.pairs {
		at := join(path, p.key)
		i := slices.IndexFunc(*v.p, func(o spec.Port) bool { return o.Name == p.key })
		port := spec.Port{Name: p.key, Increment: 1}
		if i >= 0 {
			port = (*v.p)[i]
		}
		d.mark(at, p.value)
		if p.value.shape == object {
			d.places[at] = spot{file: d.file, place: p.at}
			d.object(at, p.value, portFields(&port))
			if p.value.get("port") == nil && i < 0 {
				d.problem(at, p.at, "write port: 8000", "the number is missing")
			}
		} else {
			portNumber(&port).decode(d, at, p.value)
			d.move(at, at+".port")
		}
		// A wrong number stays 0: Validate's word on it is not told again.
		if i >= 0 {
			(*v.p)[i] = port
		} else {
			*v.p = append(*v.p, port)
		}
	}
}

func portNumber(p *spec.Port) value { return whole[int]{&p.Number, 1, 65535, nil} }

func portFields(p *spec.Port) []field {
	return []field{
		{"port", portNumber(p), "", "The port of slot 0. Required."},
		{"increment", whole[int]{&p.Increment, 0, 65535, nil}, "1", "Added for each slot; 0: all workers bind the same port (SO_REUSEPORT)."},
		{"env", text[string]{&p.Env, "a name such as PORT"}, "", "The variable that carries it; default: PORT for the first, PORT_NAME for the others."},
	}
}

func (v portsValue) show(path string) *shown {
	if len(*v.p) == 0 {
		return nil
	}
	s := &shown{path: path, pairs: []shownPair{}}
	for i := range *v.p {
		p := (*v.p)[i]
		s.add(p.Name, showFields(join(path, p.Name), portFields(&p)))
	}
	return s
}

func (v portsValue) schema() schema {
	number := portNumber(&spec.Port{}).schema()
	return schema{
		"type": []string{"object", "null"}, "propertyNames": schema{"pattern": "^[a-z0-9_-]+$"},
		"additionalProperties": schema{"anyOf": []schema{number, objectSchema(portFields(&spec.Port{}))}},
	}
}
func (v portsValue) kind() string { return "map of name to number or map" }

// nameListeners gives names to those without: http, http1, …
func nameListeners(all []spec.Listener) {
	taken := map[string]bool{}
	for _, l := range all {
		taken[l.Name] = true
	}
	next := 0
	for i := range all {
		for all[i].Name == "" {
			name := "http"
			if next > 0 {
				name += strconv.Itoa(next)
			}
			if next++; !taken[name] {
				all[i].Name = name
			}
		}
	}
}

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
