package spec

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
)

func (a App) checkListeners(c check) {
	names := map[string]bool{}
	for i, l := range a.Listen {
		lc := c.in(fmt.Sprintf("listen[%d]", i))
		switch {
		case !isSocketName(l.Name):
			lc.add("name", "use 1 to 64 of a-z 0-9 _ -", "%q cannot be the name of a listener", l.Name)
		case names[l.Name]:
			lc.add("name", "rename one of them", "the name %q stands twice", l.Name)
		}
		names[l.Name] = true
		l.check(lc)
	}
}

func isSocketName(s string) bool { return socketName.MatchString(s) && len(s) <= 64 }

func (l Listener) check(c check) {
	before := len(*c.problems)
	c.oneOf("network", l.Network, Networks()...)
	if len(*c.problems) > before {
		return
	}
	clean, err := cleanAddress(l.Network, l.Address)
	switch {
	case err != nil:
		c.err("address", err)
	case clean != l.Address:
		c.add("address", "write "+clean, "%q is not the plain form", l.Address)
	case l.Network == "unix" && !filepath.IsAbs(l.Address):
		c.add("address", "write an absolute path", "%q is not absolute", l.Address)
	}
	if l.Network != "unix" && (l.Mode != 0 || l.Owner != "" || l.Group != "") {
		c.add("", "remove them, or listen on unix:/PATH", "mode, owner and group are for UNIX sockets only")
	}
	if l.Mode > 0o777 {
		c.add("mode", "write it like 0600 or 0660", "%s is not possible for a socket", l.Mode)
	}
	c.account("owner", l.Owner)
	c.account("group", l.Group)
	if l.Backlog < 0 {
		c.add("backlog", "write 0 for the system's limit", "%d is negative", l.Backlog)
	}
	l.Balance.check(c, l.Network)
}

func (a App) checkPorts(c check) {
	names, envs := map[string]bool{}, map[string]bool{}
	for i, p := range a.Ports {
		pc := c.in("ports." + p.Name)
		switch {
		case !isSocketName(p.Name):
			pc = c.in(fmt.Sprintf("ports[%d]", i))
			pc.add("", "use 1 to 64 of a-z 0-9 _ -", "%q cannot be the name of a port", p.Name)
		case names[p.Name]:
			pc.add("", "rename one of them", "the name %q stands twice", p.Name)
		}
		names[p.Name] = true
		switch {
		case !isVariableName(p.Env):
			pc.add("env", "write a name such as PORT", "%q cannot be the name of a variable", p.Env)
		case envs[p.Env]:
			pc.add("env", "give each port a variable of its own", "two ports are in the variable %s", p.Env)
		}
		envs[p.Env] = true
		p.check(pc, a.Workers)
	}
}

func (p Port) check(c check, workers int) {
	if p.Number < 1 || p.Number > 65535 {
		c.add("port", "use 1 to 65535", "the port %d is out of range", p.Number)
		return
	}
	if p.Increment < 0 || p.Increment > 65535 {
		c.add("increment", "use 0 to 65535", "%d is out of range", p.Increment)
		return
	}
	slot := min(max(workers, 1), MaxWorkers) - 1
	if last := p.For(slot); last > 65535 {
		c.add("port", "choose a lower port, a smaller increment or fewer workers", "the worker in slot %d would get the port %d", slot, last)
	}
}

// socket is one address that somebody binds.
type socket struct {
	app, key, what string // its app, its path in the app, its name in messages
	transport      string // tcp, udp, unix, fd
	v4, v6, all    bool   // families; every address of them
	host           string
	port           int
	own            bool // a worker binds it
}

// checkSockets finds addresses that two would bind.
func (s Spec) checkSockets(c check) {
	var ports, names []socket
	for _, a := range s.Apps {
		for i, l := range a.Listen {
			if k, ok := l.socket(); ok {
				k.app, k.key = a.Name, fmt.Sprintf("listen[%d]", i)
				if k.port > 0 {
					ports = append(ports, k)
				} else {
					names = append(names, k)
				}
			}
		}
		for _, p := range a.Ports {
			ports = append(ports, p.sockets(a)...)
		}
	}
	reportSame(c, names, func(k socket) any { return k.what }, func(socket, socket) bool { return true })
	reportSame(c, ports, func(k socket) any { return k.port }, socket.overlaps)
}

// reportSame reports each socket that another one before it takes, once for
// each two paths.
func reportSame(c check, all []socket, key func(socket) any, same func(a, b socket) bool) {
	seen, told := map[any][]socket{}, map[string]bool{}
	for _, k := range all {
		for _, other := range seen[key(k)] {
			if !same(other, k) {
				continue
			}
			if pair := other.path() + " " + k.path(); !told[pair] {
				told[pair] = true
				c.add(k.path(), "choose another address for one of them", "%s is taken by %s", k.what, other.owner(k))
			}
			break
		}
		seen[key(k)] = append(seen[key(k)], k)
	}
}

func (k socket) path() string { return "apps." + k.app + "." + k.key }

func (k socket) owner(asked socket) string {
	text := "the app " + k.app
	if k.app == asked.app {
		text = k.key + " of the same app"
	}
	if k.what != asked.what {
		text += " (" + k.what + ")"
	}
	return text
}

func (k socket) overlaps(o socket) bool {
	if k.transport != o.transport || !(k.v4 && o.v4 || k.v6 && o.v6) {
		return false
	}
	if k.own && o.own && k.path() == o.path() {
		return false // increment 0: the workers share it with SO_REUSEPORT
	}
	loopback := func(h string) bool { return h == "localhost" || h == "127.0.0.1" || h == "[::1]" }
	return k.all || o.all || k.host == o.host ||
		loopback(k.host) && loopback(o.host) && (k.host == "localhost" || o.host == "localhost")
}

// socket is false for an address that is wrong or chosen by the system.
func (l Listener) socket() (socket, bool) {
	address, err := cleanAddress(l.Network, l.Address)
	if err != nil {
		return socket{}, false
	}
	k := socket{transport: strings.TrimRight(l.Network, "46"), host: address, what: l.Network + "://" + address}
	switch l.Network {
	case "unix":
		k.what = "unix:" + filepath.Clean(address)
		return k, true
	case "fd":
		k.what = "fd:" + address
		return k, true
	}
	k.host, k.port, _ = splitHostPort(address)
	k.v4, k.v6 = !strings.HasSuffix(l.Network, "6"), !strings.HasSuffix(l.Network, "4")
	if ip, err := netip.ParseAddr(k.host); err == nil {
		k.all = ip.IsUnspecified()
		if !k.all {
			k.v4, k.v6 = ip.Is4(), ip.Is6()
		}
		if ip.Is6() {
			k.host = "[" + k.host + "]"
		}
	}
	k.all = k.all || k.host == ""
	return k, k.port > 0
}

// sockets are the numbers over all slots. Workers may bind them to any address.
func (p Port) sockets(a App) (all []socket) {
	for slot := range min(max(a.Workers, 1), MaxWorkers) {
		n := p.For(slot)
		if n < 1 || n > 65535 {
			break
		}
		all = append(all, socket{
			app: a.Name, key: "ports." + p.Name, what: fmt.Sprintf("the port %d", n),
			transport: "tcp", v4: true, v6: true, all: true, port: n, own: true,
		})
		if p.Increment <= 0 {
			break
		}
	}
	return all
}
