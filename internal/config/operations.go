package config

import (
	"strings"

	"github.com/muster-run/muster/internal/config/table"
	"github.com/muster-run/muster/spec"
)

// wordsOf is a list of words, of which these are known; Validate looks at them.
type wordsOf struct {
	table.Value
	known []string
}

func (v wordsOf) Schema() table.Schema {
	one := table.OrVariable(table.Schema{"enum": v.known})
	return table.Schema{"anyOf": []table.Schema{one, {"type": "array", "items": one}, {"type": "null"}}}
}
func (v wordsOf) Kind() string { return "list of " + strings.Join(v.known, ", ") }

func heartbeatValue(h *spec.Heartbeat) table.Value {
	return table.ShortSection(heartbeatFields(h), table.ShortFor("interval", table.Duration(&h.Interval)))
}

func heartbeatFields(h *spec.Heartbeat) []table.Field {
	return []table.Field{
		table.Key("interval", table.Duration(&h.Interval), "0s", "A worker that is silent for longer is reported; 0: nobody listens."),
		table.Key("kill", table.Duration(&h.Kill), "0s", "One that is silent for longer is stopped, by the app's stop rules, and replaced; 0: it is only reported."),
	}
}

func consoleValue(c *spec.Console) table.Value {
	return table.ShortSection(consoleFields(c), table.ShortFor("port", consolePort(c)))
}

func consolePort(c *spec.Console) table.Value { return table.Whole(&c.Port, 0, 65535) }

func consoleFields(c *spec.Console) []table.Field {
	return []table.Field{
		table.Key("port", consolePort(c), "0", "The port of slot 0 on 127.0.0.1, that of slot N is N higher; 0: a UNIX socket of the owner's, no port."),
	}
}
