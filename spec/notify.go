package spec

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/muster-run/muster/spec/secret"
)

// NotifierKind is where a notifier speaks to.
type NotifierKind string

// The kinds of notifier. All but email and command are an HTTP POST and differ in
// the body.
const (
	NotifyWebhook NotifierKind = "webhook"
	NotifySlack   NotifierKind = "slack"
	NotifyDiscord NotifierKind = "discord"
	NotifyTeams   NotifierKind = "teams"
	NotifyNtfy    NotifierKind = "ntfy"
	NotifyEmail   NotifierKind = "email"
	NotifyCommand NotifierKind = "command"
)

// NotifierKinds are the words that Notifier.Type may be.
func NotifierKinds() []string {
	return []string{"webhook", "slack", "discord", "teams", "ntfy", "email", "command"}
}

// Occasions are the words that Notifier.On may hold.
func Occasions() []string { return []string{"started", "crash", "recovered", "gave_up"} }

// Notifier tells somebody outside what happens.
type Notifier struct {
	// Name is unique: [a-z0-9][a-z0-9._-]*.
	Name string       `json:"name"`
	Type NotifierKind `json:"type"`
	// On are the occasions it is for; nil: all.
	On []string `json:"on,omitempty"`
	// Apps are names or globs; nil: all.
	Apps []string `json:"apps,omitempty"`
	// URL for all but email and command. http is for loopback hosts only.
	URL string `json:"url,omitempty"`
	// Template of the body for a webhook; "": JSON of everything. {{NAME}} stands for
	// a fact as JSON text without quotes. Headers are added to the request.
	Template string            `json:"template,omitempty"`
	Headers  map[string]string `json:"headers,omitempty"`
	// Command gets the facts as JSON on stdin and as MUSTER_* variables.
	Command []string `json:"command,omitempty"`
	// Server (host:port), From, To, User and Password for email. TLS is required
	// but for loopback hosts.
	Server   string   `json:"server,omitempty"`
	From     string   `json:"from,omitempty"`
	To       []string `json:"to,omitempty"`
	User     string   `json:"user,omitempty"`
	Password string   `json:"password,omitempty"`
	// Timeout of one delivery. Default 10s.
	Timeout Duration `json:"timeout"`
	// Rate is how many deliveries a minute there may be; what comes above it is
	// counted and told with the next one. Default 20.
	Rate int `json:"rate"`
}

// DefaultNotifier is a notifier with its defaults filled in.
func DefaultNotifier(name string) Notifier {
	return Notifier{Name: name, Type: NotifyWebhook, Timeout: Duration(10e9), Rate: 20}
}

func (n Notifier) check(c check) {
	if !appName.MatchString(n.Name) || len(n.Name) > 63 {
		c.add("", "use 1 to 63 of a-z 0-9 . _ -, the first a letter or digit", "%q cannot be the name of a notifier", n.Name)
	}
	before := len(*c.problems)
	c.oneOf("type", string(n.Type), NotifierKinds()...)
	for i, word := range n.On {
		c.oneOf(fmt.Sprintf("on[%d]", i), word, Occasions()...)
	}
	c.positive("timeout", n.Timeout, "10s")
	c.within("rate", n.Rate, 1, 100000)
	if len(*c.problems) > before {
		return
	}
	switch n.Type {
	case NotifyCommand:
		c.argv("command", n.Command)
	case NotifyEmail:
		n.checkEmail(c)
	default:
		c.err(string(n.Type), checkOutside(n.URL)) // as muster.yaml calls it
	}
}

func (n Notifier) checkEmail(c check) {
	if _, port, err := net.SplitHostPort(n.Server); err != nil || port == "" {
		c.add("server", "write it like mail.example.org:587", "%q is no host and port", n.Server)
	}
	if !strings.Contains(n.From, "@") {
		c.add("from", "write an address like muster@example.org", "%q is no mail address", n.From)
	}
	if len(n.To) == 0 {
		c.add("email", "write a list of addresses", "nobody is to get the mail")
	}
}

// checkOutside refuses a URL that would carry secrets in the clear; its path is one.
func checkOutside(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Host == "", u.Scheme != "http" && u.Scheme != "https":
		return invalid("this is no URL: write it like https://example.org/hook")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return invalid("what goes to %s would be sent in the clear: write https://", u.Host)
	}
	return nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// checkControlListen allows loopback addresses only.
func checkControlListen(text string) error {
	host, port, err := net.SplitHostPort(text)
	n, bad := strconv.Atoi(port)
	if err != nil || bad != nil || n < 1 || n > 65535 || !isLoopback(host) {
		return invalid("%q is no loopback address with a port: write it like 127.0.0.1:9009", text)
	}
	return nil
}

func (s Spec) checkNotifiers(c check) {
	for i, n := range s.Notify {
		nc := c.in("notify." + n.Name)
		if i > 0 && slices.ContainsFunc(s.Notify[:i], func(o Notifier) bool { return o.Name == n.Name }) {
			nc.add("", "rename one of them", "the name stands twice")
		}
		n.check(nc)
	}
}

// masked hides what lets somebody speak in the notifier's name; the path of a hook's
// URL is such a secret.
func (n Notifier) masked() Notifier {
	if u, err := url.Parse(n.URL); err == nil && n.URL != "" {
		n.URL = u.Scheme + "://" + u.Host + "/" + secret.Mask
	}
	if n.Password != "" {
		n.Password = secret.Mask
	}
	n.Headers = maps.Clone(n.Headers)
	for name, value := range n.Headers {
		if value != "" && !strings.EqualFold(name, "content-type") {
			n.Headers[name] = secret.Mask
		}
	}
	n.Template, n.Command = secret.Text(n.Template), secret.Args(n.Command)
	return n
}
