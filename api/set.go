package api

import (
	"net"
	"strconv"
	"strings"

	"github.com/muster-run/muster/spec"
)

// SetPort is the body of POST /v1/set-port.
type SetPort struct {
	// Selector picks whole apps; each must have the port.
	Selector string `json:"selector"`
	// Name of one of the app's ports:, or of a listener of a TCP or UDP port.
	Name string `json:"name"`
	// Port is 1 to 65535; below 1024 only where the privilege is there.
	Port int `json:"port"`
	// Now reloads the app onto the new port. Without it the port holds from the next
	// start or reload of the whole app.
	Now bool `json:"now,omitempty"`
}

// SetProbe is the body of POST /v1/set-probe.
type SetProbe struct {
	// Selector picks whole apps; each must have a health check.
	Selector string `json:"selector"`
	// Interval of the check from now on.
	Interval spec.Duration `json:"interval"`
}

// Setting is a value of an app that an order has changed. It holds over reloads and
// restarts until a configuration is applied (`muster up`), or the file itself says
// something else than it did when the order was given.
type Setting struct {
	// Field is ports.NAME, listen.NAME or health.interval.
	Field string `json:"field"`
	// Was is the value that the app had been declared with, Now the present one:
	// "8000", "127.0.0.1:8000", "10s".
	Was string `json:"was"`
	Now string `json:"now"`
}

// String is "ports.http 8000 → 9000".
func (s Setting) String() string { return s.Field + " " + s.Was + " → " + s.Now }

// PortSetting is what a SetPort comes to for an app; false: the app has no such port.
func PortSetting(app spec.App, name string, port int) (Setting, bool) {
	for _, p := range app.Ports {
		if p.Name == name {
			return Setting{"ports." + name, strconv.Itoa(p.Number), strconv.Itoa(port)}, true
		}
	}
	for _, l := range app.Listen {
		host, _, err := net.SplitHostPort(l.Address)
		if l.Name == name && hasPort(l) && err == nil {
			return Setting{"listen." + name, l.Address, net.JoinHostPort(host, strconv.Itoa(port))}, true
		}
	}
	return Setting{}, false
}

// ProbeSetting is what a SetProbe comes to for an app; false: it has no health check.
func ProbeSetting(app spec.App, interval spec.Duration) (Setting, bool) {
	if app.Health == nil {
		return Setting{}, false
	}
	return Setting{"health.interval", app.Health.Interval.String(), interval.String()}, true
}

// PortNames are what SetPort can name of an app.
func PortNames(app spec.App) (names []string) {
	for _, p := range app.Ports {
		names = append(names, p.Name)
	}
	for _, l := range app.Listen {
		if hasPort(l) {
			names = append(names, l.Name)
		}
	}
	return names
}

func hasPort(l spec.Listener) bool {
	return strings.HasPrefix(l.Network, "tcp") || strings.HasPrefix(l.Network, "udp")
}

// In is the value that the app has where the setting is; "" without that place.
func (s Setting) In(app spec.App) string {
	kind, name, _ := strings.Cut(s.Field, ".")
	switch {
	case kind == "ports":
		for _, p := range app.Ports {
			if p.Name == name {
				return strconv.Itoa(p.Number)
			}
		}
	case kind == "listen":
		for _, l := range app.Listen {
			if l.Name == name && hasPort(l) {
				return l.Address
			}
		}
	case s.Field == "health.interval" && app.Health != nil:
		return app.Health.Interval.String()
	}
	return ""
}

// Keep makes the setting hold in a declaration, unless that says something else than
// when the order was given. app is changed, what it shares with others is not.
func (s Setting) Keep(app *spec.App) {
	if s.In(*app) == s.Was {
		s.put(app)
	}
}

func (s Setting) put(app *spec.App) {
	kind, name, _ := strings.Cut(s.Field, ".")
	switch kind {
	case "ports":
		app.Ports = append([]spec.Port(nil), app.Ports...)
		for i := range app.Ports {
			if number, err := strconv.Atoi(s.Now); err == nil && app.Ports[i].Name == name {
				app.Ports[i].Number = number
			}
		}
	case "listen":
		app.Listen = append([]spec.Listener(nil), app.Listen...)
		for i := range app.Listen {
			if app.Listen[i].Name == name {
				app.Listen[i].Address = s.Now
			}
		}
	case "health":
		h := *app.Health
		if h.Interval.UnmarshalText([]byte(s.Now)) == nil {
			app.Health = &h
		}
	}
}
