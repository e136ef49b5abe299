package config

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"github.com/muster-run/muster/internal/config/table"
	"github.com/muster-run/muster/internal/config/tree"
	"github.com/muster-run/muster/spec"
)

// notifyValue is a map of name to notifier.
type notifyValue struct{ p *[]spec.Notifier }

func (v notifyValue) Decode(d *table.Decoder, path string, n *tree.Node) {
	for _, p := range d.Pairs(path, n, "a map of names: {ops: https://example.org/hook}") {
		*v.p = append(*v.p, v.one(d, table.Join(path, p.Key), p))
	}
	slices.SortStableFunc(*v.p, func(a, b spec.Notifier) int { return cmp.Compare(a.Name, b.Name) })
}

func (notifyValue) one(d *table.Decoder, at string, p tree.Pair) spec.Notifier {
	n := spec.DefaultNotifier(p.Key)
	switch {
	case p.Value.Shape == tree.Object:
		d.Place(at, p.At)
		targets := written(p.Value)
		switch {
		case len(targets) > 1:
			d.Problem(at, p.At, "make two notifiers of it", "a notifier has one target, this one has %s", strings.Join(targets, " and "))
		case len(targets) == 0 && !d.Excused(at):
			d.Problem(at, p.At, "write one of "+strings.Join(spec.NotifierKinds(), ", "), "there is no target")
		}
		d.Object(at, p.Value, notifierFields(&n))
	default:
		d.Mark(at, p.Value)
		if text, ok := d.Text(at, p.Value, "a URL, or a map with one of "+strings.Join(spec.NotifierKinds(), ", ")); ok {
			n.URL, n.Type = text, kindOf(text)
		}
		d.Move(at, table.Join(at, string(n.Type)))
	}
	return n
}

// written are the targets that stand in a map.
func written(n *tree.Node) (targets []string) {
	for _, kind := range spec.NotifierKinds() {
		if n.Get(kind) != nil {
			targets = append(targets, kind)
		}
	}
	return targets
}

// kindOf tells by the host of a URL what it expects; "webhook" takes anything.
func kindOf(text string) spec.NotifierKind {
	u, err := url.Parse(text)
	if err != nil {
		return spec.NotifyWebhook
	}
	host := u.Hostname()
	switch {
	case host == "hooks.slack.com":
		return spec.NotifySlack
	case strings.HasSuffix("."+host, ".discord.com"), strings.HasSuffix("."+host, ".discordapp.com"):
		return spec.NotifyDiscord
	case strings.HasSuffix(host, ".webhook.office.com"), strings.HasSuffix(host, ".logic.azure.com"):
		return spec.NotifyTeams
	case host == "ntfy.sh":
		return spec.NotifyNtfy
	}
	return spec.NotifyWebhook
}

func notifierFields(n *spec.Notifier) []table.Field {
	target := func(kind spec.NotifierKind, v table.Value) table.Value {
		return before{
			v, func() { n.Type, n.URL, n.To, n.Command = kind, "", nil, nil },
			func() bool { return n.Type == kind }, nil,
		}
	}
	address := func(kind spec.NotifierKind) table.Value { return target(kind, table.Text(&n.URL, "a URL")) }
	return []table.Field{
		table.Key("webhook", address(spec.NotifyWebhook), "", "A URL that gets a POST with everything as JSON, or with template. A notifier has one target: this or one of the next six. A URL alone in place of the map tells by its host which one it is."),
		table.Key("slack", address(spec.NotifySlack), "", "The URL of an incoming webhook of Slack (or Mattermost, Rocket.Chat)."),
		table.Key("discord", address(spec.NotifyDiscord), "", "The URL of a webhook of Discord."),
		table.Key("teams", address(spec.NotifyTeams), "", "The URL of a webhook of Microsoft Teams."),
		table.Key("ntfy", address(spec.NotifyNtfy), "", "The URL of a topic, such as `https://ntfy.sh/TOPIC`."),
		table.Key("email", target(spec.NotifyEmail, table.Words(&n.To)), "", "Addresses that get a mail, by server."),
		table.Key("command", target(spec.NotifyCommand, table.Argv(&n.Command)), "", "A command that gets everything as JSON on its stdin, and as MUSTER_ variables."),
		table.Key("on", wordsOf{table.Words(&n.On), spec.Occasions()}, "", "The occasions; default: all."),
		table.Key("apps", table.Words(&n.Apps), "", "Names of apps, or globs; default: all."),
		table.Key("template", table.Text(&n.Template, "a text in quotes, or behind a bar"), "", "The body for webhook: `{{NAME}}` stands for a fact as JSON text without quotes, such as `{{app}}`, `{{event}}`, `{{text}}`. In quotes, as YAML takes a bare brace for a map."),
		table.Key("headers", table.TextMap(&n.Headers), "", "Headers of the POST, such as Authorization."),
		table.Key("server", table.Text(&n.Server, "a host and port"), "", "HOST:PORT of the mail server, for email. TLS is required but for loopback hosts."),
		table.Key("from", table.Text(&n.From, "an address"), "", "The sender, for email."),
		table.Key("user", table.Text(&n.User, "a name"), "", "The account at the server; default: none."),
		table.Key("password", table.Text(&n.Password, "a text such as ${SMTP_PASSWORD}"), "", "Its password: better a variable of .env."),
		table.Key("timeout", table.Duration(&n.Timeout), "10s", "Of one delivery."),
		table.Key("rate", table.Whole(&n.Rate, 1, 100000), "20", "How many deliveries a minute; what comes above it is counted and told with the next one."),
	}
}

func (v notifyValue) Show(path string) *table.Shown {
	if len(*v.p) == 0 {
		return nil
	}
	s := table.ShowMap(path)
	for i := range *v.p {
		n := (*v.p)[i]
		s.Add(n.Name, table.ShowFields(table.Join(path, n.Name), notifierFields(&n)))
	}
	return s
}

func (v notifyValue) Schema() table.Schema {
	n := spec.DefaultNotifier("")
	return table.Schema{
		"type": []string{"object", "null"}, "propertyNames": table.Schema{"pattern": "^[a-z0-9][a-z0-9._-]{0,62}$"},
		"additionalProperties": table.Schema{"anyOf": []table.Schema{
			{"type": "string", "pattern": `^https?://|\$\{`}, table.ObjectSchema(notifierFields(&n)),
		}},
	}
}
func (v notifyValue) Kind() string { return "map of name to URL or map" }
