package config

import (
	"strings"

	"github.com/muster-run/muster/internal/config/table"
	"github.com/muster-run/muster/internal/config/tree"
	"github.com/muster-run/muster/spec"
)

func (a *appDraft) readyValue() table.Value {
	r := &a.Ready
	return table.ShortSection(readyFields(r), table.Short{
		Decode: func(d *table.Decoder, path string, n *tree.Node) { readyShort(d, path, n, r) },
		Schema: table.Schema{"type": "string", "pattern": `^(auto|notify|listening|probe|port|alive|alive: ?.+|output: ?.+)$|\$\{`},
		Kind:   "auto, notify, listening, probe, port, alive:TIME, output:REGEX",
	})
}

func readyModes() []string {
	return []string{"auto", "notify", "listening", "probe", "port", "output", "alive"}
}

func readyFields(r *spec.Ready) []table.Field {
	set := func(m spec.ReadyMode) func() { return func() { r.Mode, r.Pattern = m, "" } }
	return []table.Field{
		table.Key("mode", before{table.Choice(&r.Mode, readyModes(), nil), func() { r.Pattern = "" }, nil, nil}, "auto", "auto picks the strongest that applies: listening with listen and probe with health, else port with ports, else alive. notify waits for READY=1 (sd_notify); listening until the inherited sockets are accepted on; probe for the first success of health; port until the worker listens on its ports; output for a line; alive for a time."),
		table.Key("pattern", table.Text(&r.Pattern, "a regular expression"), "", "The expression (RE2) that a line of output must match, for mode output."),
		table.Key("for", table.Duration(&r.For), "1s", "How long the worker must live, for mode alive."),
		table.Key("output", before{table.Text(&r.Pattern, "a regular expression"), set(spec.ReadyOutput), never, []string{"mode", "pattern"}}, "", "Short for mode output with this pattern."),
		table.Key("alive", before{table.Duration(&r.For), set(spec.ReadyAlive), never, []string{"mode", "for"}}, "", "Short for mode alive with this time."),
		table.Key("timeout", table.Duration(&r.Timeout), "1m", "A worker that is not ready by then has failed; EXTEND_TIMEOUT_USEC moves it."),
	}
}

// readyShort reads "notify", "alive:1s" or "output:REGEX".
func readyShort(d *table.Decoder, path string, n *tree.Node, r *spec.Ready) {
	mode, rest, has := strings.Cut(n.Text, ":")
	rest = strings.TrimSpace(rest)
	switch {
	case has && mode == "alive":
		r.Mode, r.Pattern = spec.ReadyAlive, ""
		d.Move(path, path+".mode", path+".for")
		d.Invalid(path, n.At, r.For.UnmarshalText([]byte(rest)))
	case has && mode == "output":
		r.Mode, r.Pattern = spec.ReadyOutput, rest
		d.Move(path, path+".mode", path+".pattern")
	default:
		r.Pattern = ""
		if n.Text == "output" {
			d.Problem(path, n.At, "write `ready: {output: REGEX}`", "output needs the expression to wait for")
			return
		}
		table.Choice(&r.Mode, readyModes(), nil).Decode(d, path, n)
		d.Move(path, path+".mode")
	}
}

// before is a value that changes something else first; visible, when not nil,
// says whether it is shown.
type before struct {
	table.Value
	first   func()
	visible func() bool
	sets    []string // the keys beside it that it is short for
}

func never() bool { return false }

func (v before) Decode(d *table.Decoder, path string, n *tree.Node) {
	v.first()
	v.Value.Decode(d, path, n)
	if v.sets != nil {
		var to []string
		for _, key := range v.sets {
			to = append(to, table.Join(table.Parent(path), key))
		}
		d.Move(path, to...)
	}
}

func (v before) Show(path string) *table.Shown {
	if v.visible != nil && !v.visible() {
		return nil
	}
	return v.Value.Show(path)
}
