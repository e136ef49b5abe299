package console

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op/pattern"
	"github.com/muster-run/muster/spec"
	"github.com/muster-run/muster/spec/secret"
)

// offered carries out a command of the application, or says what was meant.
func (c *console) offered(ctx context.Context, words []string) (int, error) {
	list, err := c.o.Agent.Commands(ctx)
	i := slices.IndexFunc(list.Commands, func(o api.Command) bool { return o.Name == words[0] })
	if i < 0 {
		return 0, c.unknown(words[0], list.Commands, err)
	}
	o := list.Commands[i]
	p, err := pattern.Parse(o.Pattern)
	if err != nil {
		return 0, err
	}
	args, err := p.Match(words[1:])
	if err != nil {
		return 0, misused(o, err)
	}
	replies, err := c.o.Agent.RunCommand(ctx, api.CommandRun{Name: o.Name, Args: args})
	if err != nil {
		return 0, err
	}
	return c.replies(replies), nil
}

func misused(o api.Command, err error) error {
	f := fault.From(err).At(o.Name)
	if f.Fix == "" {
		f = f.WithFix("write " + o.Name + " " + o.Pattern)
	}
	return f
}

// unknown refuses a word that is nothing at all.
func (c *console) unknown(word string, offered []api.Command, asked error) error {
	known := slices.Clone(c.o.Commander.Verbs())
	for _, w := range c.ownWords() {
		known = append(known, w.name)
	}
	for _, o := range offered {
		known = append(known, o.Name)
	}
	f := fault.New(fault.Usage, "there is no command %q", word).WithFix("`help` lists the commands")
	if like := spec.Nearest(word, known); like != "" {
		return f.WithFix(`did you mean "` + like + `"?`)
	}
	if fault.CodeOf(asked) == fault.AgentUnreachable {
		return f.WithFix("`help` lists the commands; those of the application are not known, as no agent answers")
	}
	return f
}

// replies prints what those who ran a command have said.
func (c *console) replies(r api.Replies) int {
	failed, code := 0, 0
	for _, reply := range r.Replies {
		if reply.Fault != nil {
			f := reply.Fault
			code = c.o.Commander.Fail(f.At(cmp.Or(f.Where, reply.From)))
			failed++
			continue
		}
		text := plainText(reply.Body)
		switch {
		case text == "":
		case len(r.Replies) > 1:
			fmt.Fprintf(c.o.Out, "%s: %s\n", reply.From, text)
		default:
			fmt.Fprintln(c.o.Out, text)
		}
	}
	if failed > 0 && failed < len(r.Replies) {
		return fault.ExitCode(fault.New(fault.Partly, ""))
	}
	return code
}

// plainText is a string as it is, null as nothing, and other JSON indented.
func plainText(body json.RawMessage) string {
	var text string
	if len(body) == 0 || json.Unmarshal(body, &text) == nil {
		return text
	}
	var out bytes.Buffer
	if json.Indent(&out, body, "", "  ") != nil {
		return string(body)
	}
	return out.String()
}

// secretive says that a line gives an application's command what its pattern calls a
// secret.
func (c *console) secretive(ctx context.Context, words []string) bool {
	list, _ := c.o.Agent.Commands(ctx)
	for _, o := range list.Commands {
		p, err := pattern.Parse(o.Pattern)
		if len(words) < 2 || o.Name != words[0] || err != nil {
			continue
		}
		return slices.ContainsFunc(p.Names(), secret.IsName)
	}
	return false
}
