package config

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-run/muster/spec"
)

// top is a file with these keys at its top, in line 2.
func top(text string) string {
	return "version: 1\n" + text + "\napps: {web: {command: ./web}}\n"
}

// S1.8: who is told, in every form.
func TestNotifiers(t *testing.T) {
	l := good(t, top(`notify:
  b: https://hooks.slack.com/services/T/B/X
  a: {email: a@example.org, server: "mail.example.org:587", from: "m@example.org", password: "${SET}"}
  c: {webhook: "https://example.org/h", template: '{"x": "{{text}} $${A} ${SET}"}', headers: {X-Key: 1}, on: crash, apps: [web, "j*"]}
  d: {command: "./tell 'a b'", timeout: 3s, rate: 1}`))
	one := func(name string, change func(*spec.Notifier)) spec.Notifier {
		n := spec.DefaultNotifier(name)
		change(&n)
		return n
	}
	want := []spec.Notifier{
		one("a", func(n *spec.Notifier) {
			n.Type, n.To, n.Server, n.From, n.Password = "email", []string{"a@example.org"}, "mail.example.org:587", "m@example.org", "yes"
		}),
		one("b", func(n *spec.Notifier) { n.Type, n.URL = "slack", "https://hooks.slack.com/services/T/B/X" }),
		one("c", func(n *spec.Notifier) {
			n.URL, n.Template, n.Headers = "https://example.org/h", `{"x": "{{text}} ${A} yes"}`, map[string]string{"X-Key": "1"}
			n.On, n.Apps = []string{"crash"}, []string{"web", "j*"}
		}),
		one("d", func(n *spec.Notifier) {
			n.Type, n.Command, n.Timeout, n.Rate = "command", []string{"./tell", "a b"}, spec.Duration(3*time.Second), 1
		}),
	}
	if d := cmp.Diff(want, l.Spec.Notify); d != "" {
		t.Error(d)
	}
	for path, origin := range map[string]string{
		"notify.b.slack": "muster.yaml:3:6", "notify.c.rate": "default", "notify.d.rate": "muster.yaml:6:51",
	} {
		if got := l.Origin(path); got != origin {
			t.Errorf("%s is from %q, want %q", path, got, origin)
		}
	}
}

func TestKindOf(t *testing.T) {
	for text, want := range map[string]spec.NotifierKind{
		"https://hooks.slack.com/services/x": "slack", "https://discord.com/api/webhooks/1/x": "discord",
		"https://ptb.discord.com/api/webhooks/1/x": "discord", "https://notdiscord.com/": "webhook",
		"https://x.webhook.office.com/webhookb2/x": "teams", "https://prod-1.westeurope.logic.azure.com:443/x": "teams",
		"https://ntfy.sh/topic": "ntfy", "https://ntfy.sh.example.org/": "webhook", "https://example.org/slack": "webhook",
		"http://127.0.0.1:9/": "webhook", "%": "webhook", "": "webhook",
	} {
		if got := kindOf(text); got != want {
			t.Errorf("%q is for %s, want %s", text, got, want)
		}
	}
}

func TestNotifiersRefused(t *testing.T) {
	for text, want := range map[string]string{
		"x: ftp://example.org/s3cret":             "2:13: notify.x.webhook: this is no URL; write it like https://",
		"x: http://example.org/s3cret":            "2:13: notify.x.webhook: what goes to example.org would be sent in the clear; write https://",
		"x: {slack: 'http://example.org/s3cret'}": "2:21: notify.x.slack: what goes to example.org",
		"x: [a]":         "notify.x: this is a list; write a URL, or a map with one of webhook, slack",
		"x: ":            "notify.x: there is no value",
		"x: {}":          "notify.x: there is no target; write one of webhook, slack",
		"x: {on: crash}": "there is no target",
		"x: {slak: 'https://example.org/s3cret'}":                      `unknown key "slak" in notify.x; did you mean "slack"?`,
		"x: {slack: 'https://a/s3cret', ntfy: 'https://b/s3cret'}":     "this one has slack and ntfy; make two notifiers of it",
		"X: https://example.org/s3cret":                                `"X" cannot be the name of a notifier`,
		"x: {slack: 'https://a/s3cret', on: [crashed]}":                `notify.x.on[0]: "crashed" is not possible; did you mean "crash"?`,
		"x: {slack: 'https://a/s3cret', timeout: 0s}":                  "notify.x.timeout: 0s is too short",
		"x: {slack: 'https://a/s3cret', rate: 0}":                      "notify.x.rate: 0 is out of range",
		"x: {webhook: 'https://a/s3cret', template: {{text}}}":         "",
		"x: {email: a@example.org, from: m@example.org}":               `notify.x.server: "" is no host and port`,
		"x: {email: [], server: 'a:1', from: m@example.org}":           "notify.x.email: nobody is to get the mail",
		"x: {email: a@example.org, server: 'a:1', password: [s3cret]}": "this is a list; write a text such as ${SMTP_PASSWORD}",
		"x: {command: []}":      "notify.x.command: the command is empty",
		"x: {command: 'a | b'}": "| has a meaning only in a shell",
		"x: {webhook: 'https://a/s3cret', template: 'a ${UNSET} s3cret'}": "the variable UNSET is not set",
	} {
		_, err := load(t, top("notify: {"+text+"}"))
		if err == nil {
			t.Errorf("no problem in %s", text)
			continue
		}
		all := strings.Join(lines(t, err), "\n")
		if !strings.Contains(all, want) {
			t.Errorf("%s:\n%s\nwant %s", text, all, want)
		}
		if strings.Contains(all, "s3cret") {
			t.Errorf("a secret is told:\n%s", all)
		}
	}
	bad(t, top("notify: https://example.org/"), "write a map of names: {ops: https://example.org/hook}")
}

// What lets somebody speak in the notifier's name is shown nowhere.
func TestNotifiersMasked(t *testing.T) {
	l := good(t, samples(t)["testdata/good/full.yaml"])
	shown, next := Show(l, true), l.Spec
	next.Notify = nil
	for _, n := range l.Spec.Notify {
		n.URL, n.Password, n.Template = strings.Replace(n.URL, "s3cret", "s3cret2", 1), n.Password+"s3cret", ""
		n.Headers = map[string]string{"Authorization": "Bearer s3crets3cret3"}
		if n.Command != nil {
			n.Command = []string{"./tell", "--token", "s3cret4"}
		}
		next.Notify = append(next.Notify, n)
	}
	changes := fmt.Sprintf("%+v", spec.Diff(l.Spec, next))
	if !strings.Contains(changes, "notify") {
		t.Errorf("no changes: %s", changes)
	}
	for _, text := range []string{shown, changes, fmt.Sprintf("%+v", l.Spec.Masked())} {
		if strings.Contains(text, "s3cret") {
			t.Errorf("a secret is shown:\n%s", text)
		}
	}
	for _, part := range []string{"slack: https://hooks.slack.com/******", "on: [crash, gave_up]", "server: mail.example.org:587", "a@example.org"} {
		if !strings.Contains(shown, part) {
			t.Errorf("%s is missing in\n%s", part, shown)
		}
	}
}

func TestOperationsKeys(t *testing.T) {
	a := good(t, head+"    role: worker\n    allow: orders\n    heartbeat: {interval: 5s, kill: 1m}\n    console: 9400\n").Spec.Apps[0]
	if a.Role != "worker" || len(a.Allow) != 1 || a.Heartbeat.Kill.D() != time.Minute || a.Console.Port != 9400 {
		t.Errorf("%+v", a)
	}
	if a := good(t, head+"    heartbeat: 7s\n").Spec.Apps[0]; a.Heartbeat.Interval.D() != 7*time.Second || a.Role != "web" {
		t.Errorf("%+v", a)
	}
	for text, want := range map[string]string{
		"allow: [stop_agnet]":                    `5:13: apps.web.allow[0]: "stop_agnet" is not possible; did you mean "stop_agent"?`,
		"allow: everything":                      `write stop_agent or orders`,
		"role: Jobs":                             `apps.web.role: "Jobs" cannot be a role`,
		"role:":                                  `there is no value`,
		"heartbeat: {kill: 10s}":                 `kill needs an interval`,
		"heartbeat: {interval: 10s, kill: 1s}":   `1s is shorter than the interval, 10s`,
		"heartbeat: {interval: 1us}":             `hot loop`,
		"heartbeat: fast":                        `"fast" is no duration`,
		"heartbeat: [1s]":                        `this is a list`,
		"console: 80":                            `ports 80 to 80 are not possible`,
		"console: {port: 65535}\n    workers: 2": `ports 65535 to 65536`,
		"console: {prt: 9400}":                   `did you mean "port"?`,
		"env: {MUSTER_ROLE: x}":                  `muster sets MUSTER_ROLE itself`,
	} {
		bad(t, head+"    "+text+"\n", want)
	}
}

// S1.9: nothing beyond loopback.
func TestControlListen(t *testing.T) {
	for _, text := range []string{"127.0.0.1:9009", "'[::1]:9009'", "localhost:9009", "127.1.2.3:1"} {
		if l := good(t, top("control: {listen: "+text+"}")); l.Spec.Control.Listen != strings.Trim(text, "'") {
			t.Errorf("%s: %q", text, l.Spec.Control.Listen)
		}
	}
	for _, text := range []string{"9009", "':9009'", "0.0.0.0:9009", "'[::]:9009'", "example.org:9009", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:x", "10.0.0.1:9009", "/run/x.sock"} {
		bad(t, top("control: {listen: "+text+"}"), "control.listen: ")
	}
}
