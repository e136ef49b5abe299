package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/muster-run/muster/internal/config/table"
	"github.com/muster-run/muster/internal/config/tree"
	"github.com/muster-run/muster/spec"
)

// listenValue is an app's listeners. A text or a list replaces what there is, a
// map of names is merged into it.
type listenValue struct{ p *[]spec.Listener }

func (v listenValue) Decode(d *table.Decoder, path string, n *tree.Node) {
	if n.Shape == tree.Object {
		v.named(d, path, n)
		return
	}
	*v.p = nil
	items := n.Items
	if n.Shape == tree.Scalar && !n.Null {
		items = []*tree.Node{n}
	}
	for i, item := range items {
		*v.p = append(*v.p, listener(d, fmt.Sprintf("%s[%d]", path, i), item))
	}
}

// named reads a map of name to address or to a map.
func (v listenValue) named(d *table.Decoder, path string, n *tree.Node) {
	if n.Get("address") != nil && n.Get("address").Shape == tree.Scalar {
		d.Problem(path, n.At, "put it into a list: `- {address: …}`, or write {NAME: ADDRESS}", "these are the keys of one listener, not names of listeners")
		return
	}
	for _, p := range n.Pairs {
		i := slices.IndexFunc(*v.p, func(l spec.Listener) bool { return l.Name == p.Key })
		if i < 0 {
			i = len(*v.p)
			*v.p = append(*v.p, spec.Listener{})
		}
		one := listener(d, fmt.Sprintf("%s[%d]", path, i), p.Value)
		if one.Name != "" && one.Name != p.Key {
			d.Problem(path, p.At, "keep one of them", "the listener has two names, %q and %q", p.Key, one.Name)
		}
		one.Name = p.Key
		(*v.p)[i] = one
	}
}

// listener is what n says, or a stand-in for what is wrong.
func listener(d *table.Decoder, path string, n *tree.Node) spec.Listener {
	d.Mark(path, n)
	if n.Shape == tree.Object {
		return listenerMap(d, path, n)
	}
	s, ok := d.Text(path, n, "an address such as :8000")
	if !ok {
		return standIn(d, "")
	}
	l, err := spec.ParseListen(s)
	if err != nil {
		d.Invalid(path, n.At, err)
		_, name, _ := strings.Cut(s, "=")
		return standIn(d, name)
	}
	return l
}

// standIn takes the place of a listener that is wrong, so that what refers to
// it by name or number is not reported as well. It passes Validate.
func standIn(d *table.Decoder, name string) spec.Listener {
	return spec.Listener{Name: name, Network: "fd", Address: fmt.Sprintf("wrong-%d", len(d.Problems))}
}

func listenerMap(d *table.Decoder, path string, n *tree.Node) spec.Listener {
	var w spec.Listener
	d.Object(path, n, listenerFields(&w))
	if n.Get("address") == nil {
		if !d.Excused(path + ".address") {
			d.Problem(path, n.At, "write address: :8000", "the address is missing")
		}
		return standIn(d, w.Name)
	}
	address := w.Address
	if n.Get("network") != nil && w.Network != "" {
		address = w.Network + "://" + w.Address
	}
	l, err := spec.ParseListen(address)
	if err != nil {
		d.Invalid(path+".address", n.Get("address").At, err)
		return standIn(d, w.Name)
	}
	if w.Name != "" {
		l.Name = w.Name
	}
	if n.Get("mode") != nil {
		l.Mode = w.Mode
	}
	l.Owner, l.Group, l.Backlog, l.Balance = w.Owner, w.Group, w.Backlog, w.Balance
	return l
}

func listenerFields(l *spec.Listener) []table.Field {
	return []table.Field{
		table.Key("name", table.Text(&l.Name, "a name"), "http", "What LISTEN_FDNAMES and `{{fd:NAME}}` call it."),
		table.Key("network", table.Choice(&l.Network, spec.Networks(), nil), "tcp", "The network; it may also stand in address."),
		table.Key("address", table.Text(&l.Address, "an address such as :8000"), "", "HOST:PORT, an absolute or relative path, or a descriptor. Required."),
		table.Key("mode", table.Mode(&l.Mode), "0600", "Mode of a UNIX socket's file."),
		table.Key("owner", table.Text(&l.Owner, "a name or number"), "", "Owner of the file; default: the app's user."),
		table.Key("group", table.Text(&l.Group, "a name or number"), "", "Group of the file."),
		table.Key("backlog", table.Whole(&l.Backlog, 0, math.MaxInt32), "0", "Connections that may wait; 0: net.core.somaxconn."),
		table.Key("balance", balanceValue(&l.Balance), "", "How its connections get to the workers; default: balance of the app."),
	}
}

func (v listenValue) Show(path string) *table.Shown {
	if len(*v.p) == 0 {
		return nil
	}
	s := table.ShowList(path)
	for i := range *v.p {
		l := (*v.p)[i]
		fields := slices.DeleteFunc(listenerFields(&l), func(f table.Field) bool {
			return f.Key == "mode" && l.Network != "unix" || f.Key == "backlog" && l.Backlog == 0 || f.Key == "balance" && l.Balance == ""
		})
		s.Append(table.ShowFields(fmt.Sprintf("%s[%d]", path, i), fields))
	}
	return s
}

func (v listenValue) Schema() table.Schema {
	address := table.Schema{"type": []string{"string", "integer"}}
	one := table.ObjectSchema(listenerFields(&spec.Listener{}))
	one["required"] = []string{"address"}
	return table.Schema{"anyOf": []table.Schema{
		address,
		{"type": "array", "items": table.Schema{"anyOf": []table.Schema{address, one}}},
		{
			"type": "object", "propertyNames": table.Schema{"pattern": "^[a-z0-9_-]+$"},
			"additionalProperties": table.Schema{"anyOf": []table.Schema{address, one}},
		},
		{"type": "null"},
	}}
}

func (v listenValue) Kind() string {
	return "address, list of addresses or maps, map of name to address"
}

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
