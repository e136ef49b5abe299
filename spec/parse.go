package spec

import (
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/muster-run/muster/spec/secret"
)

const listenForms = "write it like :8000, 127.0.0.1:8000, [::1]:8000, udp://:53, unix:/run/app.sock or fd:3"

var (
	nameSuffix  = regexp.MustCompile(`^(.*)=([a-z0-9_-]+)$`)
	digits      = regexp.MustCompile(`^[0-9]+$`)
	placeholder = regexp.MustCompile(`\{\{(fd|port):([^{}]*)\}\}`)
)

// ParseListen reads the short form of a listener: 8000, :8000, 127.0.0.1:8000,
// [::1]:8000, tcp4://…, tcp6://…, udp://…, unix:/run/x.sock, /run/x.sock, fd:3,
// fd:NAME; each may end in =NAME. Without it, Name is "" and the caller chooses
// one. A relative path of a UNIX socket stays relative. Mode is 0600 for unix.
func ParseListen(s string) (Listener, error) {
	address, name := s, ""
	if m := nameSuffix.FindStringSubmatch(s); m != nil {
		address, name = m[1], m[2]
	}
	l, err := splitNetwork(address)
	if err != nil {
		return Listener{}, err
	}
	l.Name = name
	if l.Address, err = cleanAddress(l.Network, l.Address); err != nil {
		return Listener{}, err
	}
	if l.Network == "unix" {
		l.Mode = 0o600
	}
	return l, nil
}

// Networks are the words that Listener.Network may be.
func Networks() []string {
	return []string{"tcp", "tcp4", "tcp6", "udp", "udp4", "udp6", "unix", "fd"}
}

func splitNetwork(s string) (Listener, error) {
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		for _, n := range Networks() {
			if n == scheme {
				return Listener{Network: n, Address: rest}, nil
			}
		}
		if near := Nearest(scheme, Networks()); near != "" {
			return Listener{}, invalid("%q is no network: did you mean %q?", scheme, near)
		}
		return Listener{}, invalid("%q is no network: leave it out, or write tcp, tcp4, tcp6, udp, unix or fd", scheme)
	}
	for _, n := range []string{"unix", "fd"} {
		if rest, ok := strings.CutPrefix(s, n+":"); ok {
			return Listener{Network: n, Address: rest}, nil
		}
	}
	if strings.HasPrefix(s, "/") || strings.HasPrefix(s, "./") || strings.HasPrefix(s, "../") {
		return Listener{Network: "unix", Address: s}, nil
	}
	return Listener{Network: "tcp", Address: s}, nil
}

// cleanAddress checks an address and gives the one form that Key relies on.
func cleanAddress(network, address string) (string, error) {
	switch network {
	case "unix":
		return address, checkSocketPath(address)
	case "fd":
		return address, checkDescriptor(address)
	}
	host, port, err := splitHostPort(address)
	if err != nil {
		return "", err
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if four := ip.Is4(); four && strings.HasSuffix(network, "6") || !four && strings.HasSuffix(network, "4") {
			return "", invalid("%s is no address of the network %s", host, network)
		}
		host = ip.String()
		if ip.Is6() {
			host = "[" + host + "]"
		}
	} else if !isHostName(host) {
		return "", invalid("%q is neither a host name nor an IP address: %s", host, listenForms)
	}
	return host + ":" + strconv.Itoa(port), nil
}

func splitHostPort(address string) (host string, port int, err error) {
	if digits.MatchString(address) {
		address = ":" + address
	}
	i := strings.LastIndexByte(address, ':')
	if i < 0 {
		return "", 0, invalid("%q is no address to listen on: %s", address, listenForms)
	}
	host, text := address[:i], address[i+1:]
	switch {
	case strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]"):
		host = host[1 : len(host)-1]
		if ip, err := netip.ParseAddr(host); err != nil || !ip.Is6() {
			return "", 0, invalid("%q is no IPv6 address: %s", host, listenForms)
		}
	case strings.Contains(host, ":"):
		return "", 0, invalid("%q is not clear: an IPv6 address stands in brackets, like [::1]:8000", address)
	case host == "*":
		host = ""
	}
	port, err = strconv.Atoi(text)
	if err != nil || !digits.MatchString(text) {
		return "", 0, invalid("%q is no port number: %s", text, listenForms)
	}
	if port > 65535 {
		return "", 0, invalid("the port %d is out of range: use 1 to 65535", port)
	}
	return host, port, nil
}

func isHostName(s string) bool {
	if len(s) > 253 {
		return false
	}
	for _, r := range s {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_", r) {
			return false
		}
	}
	// A last label of digits is a mistyped IPv4 address (RFC 1123).
	last := s[strings.LastIndexByte(s, '.')+1:]
	return s == "" || !digits.MatchString(last) && !strings.HasPrefix(s, "-")
}

// SocketPathMax is the longest path of a UNIX socket in bytes, with its
// terminating zero.
const SocketPathMax = 104

func checkSocketPath(path string) error {
	switch {
	case path == "":
		return invalid("the path of the UNIX socket is missing: write it like unix:/run/app.sock")
	case strings.HasPrefix(path, "@"):
		return invalid("%q is an abstract socket, which anyone may connect to: write a path like unix:/run/app.sock", path)
	case strings.ContainsRune(path, 0):
		return invalid("a path cannot hold a NUL byte: write it like unix:/run/app.sock")
	case len(path)+1 > SocketPathMax:
		return invalid("the socket path has %d bytes, at most %d are possible: choose a shorter one", len(path), SocketPathMax-1)
	}
	return nil
}

func checkDescriptor(s string) error {
	if n, err := strconv.Atoi(s); err == nil && (n < 3 || n > 1<<20) {
		return invalid("the descriptor %s is out of range: inherited sockets begin at 3", s)
	}
	if !fdName.MatchString(s) {
		return invalid("%q is no inherited descriptor: write its number, like fd:3, or its name in LISTEN_FDNAMES", s)
	}
	return nil
}

// ParseHealth reads the short form of a health check: an http:// or https://
// URL, tcp:HOST:PORT, tcp:/PATH, or cmd:COMMAND. Its times are the defaults.
func ParseHealth(s string) (Health, error) {
	h := DefaultHealth()
	kind, rest, _ := strings.Cut(s, ":")
	switch kind {
	case "http", "https":
		h.Type, h.URL = "http", s
		return h, checkURL(s)
	case "tcp":
		h.Type, h.Address = "tcp", strings.TrimPrefix(rest, "//")
		return h, checkDialAddress(h.Address)
	case "cmd":
		argv, err := SplitCommand(rest)
		h.Type, h.Command = "cmd", argv
		if err == nil && len(argv) == 0 {
			err = invalid("the command is missing: write it like cmd:./check.sh")
		}
		return h, err
	}
	return Health{}, invalid("%q is no health check: write a URL (http://127.0.0.1:8000/healthz), tcp:127.0.0.1:8000 or cmd:./check.sh", s)
}

// checkURL accepts {{port:NAME}} where a port stands.
func checkURL(s string) error {
	u, err := url.Parse(placeholder.ReplaceAllString(s, "1"))
	switch {
	case err != nil:
		return invalid("%q is no URL: write it like http://127.0.0.1:8000/healthz", secret.Text(s))
	case u.Scheme != "http" && u.Scheme != "https":
		return invalid("the health URL begins with %q: write http:// or https://", u.Scheme+":")
	case u.Host == "":
		return invalid("the health URL %q names no host: write it like http://127.0.0.1:8000/healthz", secret.Text(s))
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 {
			return invalid("the port %s is out of range: use 1 to 65535", p)
		}
	}
	return nil
}

func checkDialAddress(s string) error {
	if strings.HasPrefix(s, "/") {
		return checkSocketPath(s)
	}
	host, port, err := splitHostPort(placeholder.ReplaceAllString(s, "1"))
	if err != nil || port == 0 {
		return invalid("%q is no address to connect to: write it like 127.0.0.1:8000 or /run/app.sock", s)
	}
	if _, err := netip.ParseAddr(host); err != nil && !isHostName(host) {
		return invalid("%q is neither a host name nor an IP address", host)
	}
	return nil
}

// ParseSignal returns the canonical name of a signal: SIGTERM for TERM, sigterm,
// SIGTERM or 15 (Linux numbers).
func ParseSignal(name string) (string, error) {
	all := signals()
	want := strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(name)), "SIG")
	for n, s := range all {
		if s != "" && (s == want || strconv.Itoa(n) == want) {
			return "SIG" + s, nil
		}
	}
	if near := Nearest(want, all); near != "" {
		return "", invalid("%q is no signal: did you mean %q?", name, "SIG"+near)
	}
	return "", invalid("%q is no signal: write it like SIGTERM, TERM or 15", name)
}

// signals is in the order of their Linux numbers.
func signals() []string {
	return strings.Split(",HUP,INT,QUIT,ILL,TRAP,ABRT,BUS,FPE,KILL,USR1,SEGV,USR2,PIPE,ALRM,TERM,STKFLT,"+
		"CHLD,CONT,STOP,TSTP,TTIN,TTOU,URG,XCPU,XFSZ,VTALRM,PROF,WINCH,IO,PWR,SYS", ",")
}
