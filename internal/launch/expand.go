package launch

import (
	"net"
	"regexp"
	"strconv"
	"strings"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// firstListener is the descriptor of the first inherited listener.
const firstListener = 3

var placeholder = regexp.MustCompile(`\{\{\s*(fd|port):([^{}\s]*)\s*\}\}`)

// Expand replaces {{fd:NAME}} by the number of the descriptor that the worker
// inherits for a listener, and {{port:NAME}} by the number of a port in a slot
// (or, when no port has the name, the port of a tcp or udp listener). Other text
// in braces is left alone. An unknown name is a Config fault.
func Expand(text string, app spec.App, slot int) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	var failed error
	out := placeholder.ReplaceAllStringFunc(text, func(found string) string {
		part := placeholder.FindStringSubmatch(found)
		value, ok := fdOf(app, part[2])
		if part[1] == "port" {
			value, ok = portOf(app, part[2], slot)
		}
		if !ok && failed == nil {
			failed = unknownName(app, found, part[1])
		}
		return value
	})
	return out, failed
}

// Health is the app's health check for the worker in a slot, with its
// placeholders replaced; nil when the app has none.
func Health(app spec.App, slot int) (*spec.Health, error) {
	if app.Health == nil {
		return nil, nil
	}
	h := *app.Health
	h.Command = make([]string, len(app.Health.Command))
	fields := []*string{&h.URL, &h.Address}
	for i, arg := range app.Health.Command {
		h.Command[i] = arg
		fields = append(fields, &h.Command[i])
	}
	for _, field := range fields {
		text, err := Expand(*field, app, slot)
		if err != nil {
			return nil, err
		}
		*field = text
	}
	return &h, nil
}

func fdOf(app spec.App, name string) (string, bool) {
	for i, l := range app.Listen {
		if l.Name == name {
			return strconv.Itoa(firstListener + i), true
		}
	}
	return "", false
}

func portOf(app spec.App, name string, slot int) (string, bool) {
	for _, p := range app.Ports {
		if p.Name == name {
			return strconv.Itoa(p.For(slot)), true
		}
	}
	for _, l := range app.Listen {
		_, port, err := net.SplitHostPort(l.Address)
		if l.Name == name && err == nil && port != "0" {
			return port, true
		}
	}
	return "", false
}

// unknownName says which names there are.
func unknownName(app spec.App, found, kind string) error {
	var names []string
	for _, l := range app.Listen {
		names = append(names, l.Name)
	}
	field := "listen"
	if kind == "port" {
		field, names = "ports", nil
		for _, p := range app.Ports {
			names = append(names, p.Name)
		}
	}
	known := "it has none"
	if len(names) > 0 {
		known = "it has " + strings.Join(names, ", ")
	}
	return fault.New(fault.Config, "%s names nothing under %s: of this app (%s)", found, field, known).
		At(app.Name).WithFix("correct the name, or declare it under " + field + ":")
}
