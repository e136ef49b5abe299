package console

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// ownWord is a word of the console itself.
type ownWord struct {
	name, usage, help string
	words             []string // that may follow
}

func (c *console) ownWords() []ownWord {
	exit := ownWord{"exit", "exit", "leave the console; the session goes on", []string{"clean", "force"}}
	if c.o.Attached {
		exit.usage, exit.help = "exit [clean|force]", "end the session and all it runs: gracefully, or at once"
	}
	return []ownWord{
		exit,
		{"quit", "quit", "leave the console; the session goes on (also Ctrl-D)", nil},
		{"mute", "mute, unmute", "hide and show what happens meanwhile", nil},
		{"unmute", "", "", nil},
		{"help", "help [COMMAND]", "all commands, or one", nil},
	}
}

// own carries out a word of the console itself; known says that it was one.
func (c *console) own(ctx context.Context, words []string) (code int, known bool, err error) {
	i := slices.IndexFunc(c.ownWords(), func(w ownWord) bool { return w.name == words[0] })
	if i < 0 {
		return 0, false, nil
	}
	if w := c.ownWords()[i]; w.name != "help" && (len(words) > 2 || len(words) == 2 && !slices.Contains(w.words, words[1])) {
		return 0, true, tooMuch(w, words)
	}
	switch words[0] {
	case "exit":
		code, err = c.exit(ctx, slices.Contains(words, "force"))
	case "quit":
		err = errLeave
	case "mute":
		c.gate.mute(true)
	case "unmute":
		c.gate.mute(false)
	case "help":
		code, err = c.help(ctx, words[1:])
	}
	return code, true, err
}

func tooMuch(w ownWord, words []string) error {
	bad := words[len(words)-1]
	if len(words) > 1 && len(w.words) > 0 && !slices.Contains(w.words, words[1]) {
		bad = words[1]
	}
	f := fault.New(fault.Usage, "%s: %q is not understood", w.name, bad).WithFix("write " + w.usage)
	if like := spec.Nearest(bad, w.words); like != "" {
		f = f.WithFix(`did you mean "` + like + `"?`)
	}
	return f
}

// exit ends the session where the console belongs to it.
func (c *console) exit(ctx context.Context, now bool) (int, error) {
	if !c.o.Attached {
		fmt.Fprintln(c.o.Notes, "left the console; what runs goes on (`muster down` ends it)")
		return 0, errLeave
	}
	args := []string{"down", "--reason", "exit from the console"}
	if now {
		args = append(args, "--now")
	}
	if code := c.o.Commander.Run(ctx, args); code != 0 {
		return code, nil
	}
	return 0, errLeave
}

// help is muster's, with the console's own words and the application's behind it.
func (c *console) help(ctx context.Context, words []string) (int, error) {
	offered, _ := c.o.Agent.Commands(ctx) // without an agent there are none
	for _, o := range offered.Commands {
		if len(words) == 1 && words[0] == o.Name && !slices.Contains(c.o.Commander.Verbs(), o.Name) {
			fmt.Fprintf(c.o.Out, "%s\n\n%s\nOffered by %s.\n", strings.TrimSpace(o.Name+" "+o.Pattern), o.Help, strings.Join(o.Of, ", "))
			return 0, nil
		}
	}
	if len(words) > 0 {
		if i := slices.IndexFunc(c.ownWords(), func(w ownWord) bool { return w.name == words[0] }); i >= 0 {
			fmt.Fprintf(c.o.Out, "%s: %s\n", c.ownWords()[i].usage, c.ownWords()[i].help)
			return 0, nil
		}
		if !slices.Contains(c.o.Commander.Verbs(), words[0]) {
			return 0, c.unknown(words[0], offered.Commands, nil)
		}
		return c.o.Commander.Run(ctx, append([]string{"help"}, words...)), nil
	}
	code := c.o.Commander.Run(ctx, []string{"help"})
	fmt.Fprintln(c.o.Out, "\nIn the console (commands are written without muster):")
	row := func(usage, help string) { fmt.Fprintf(c.o.Out, "  %-30s %s\n", usage, help) }
	for _, w := range c.ownWords() {
		if w.usage != "" {
			row(w.usage, w.help)
		}
	}
	for _, r := range [][2]string{
		{"restart|stop APP [clean|force]", "gracefully, or at once"},
		{"set port [APP] NAME N [now]", "a named port; now: reload onto it"},
		{"set probe APP INTERVAL [now]", "how often an app is probed"},
	} {
		row(r[0], r[1])
	}
	for i, o := range offered.Commands {
		if i == 0 {
			fmt.Fprintln(c.o.Out, "\nOf the application:")
		}
		row(strings.TrimSpace(o.Name+" "+o.Pattern), o.Help)
	}
	return code, nil
}

// translate writes the words of the console as flags of muster's commands:
//
//	restart web force     restart web --now
//	stop web clean        stop web
//	set port http 81 now  set port web http 81 --now
//	set probe web 5s now  set probe web 5s --now
func (c *console) translate(ctx context.Context, words []string) ([]string, error) {
	last := words[len(words)-1]
	rest := words[:len(words)-1]
	switch {
	case (words[0] == "restart" || words[0] == "stop") && len(words) == 3:
		switch last {
		case "clean":
			return rest, nil
		case "force":
			return append(slices.Clone(rest), "--now"), nil
		}
		if !strings.HasPrefix(last, "-") && !strings.HasPrefix(words[1], "-") {
			w := ownWord{words[0], words[0] + " APP [clean|force]", "", []string{"clean", "force"}}
			return nil, tooMuch(w, []string{words[0], last})
		}
	case words[0] == "set" && len(words) > 2:
		if last == "now" {
			words = append(slices.Clone(rest), "--now")
		}
		if words[1] == "port" {
			return c.ported(ctx, words)
		}
	}
	return words, nil
}

// ported names the app of a port, where the line does not.
func (c *console) ported(ctx context.Context, words []string) ([]string, error) {
	var plain int
	for _, w := range words {
		if !strings.HasPrefix(w, "-") {
			plain++
		}
	}
	if plain != 4 {
		return words, nil
	}
	s, err := c.o.Agent.Spec(ctx, false)
	if err != nil {
		return nil, err
	}
	var apps, names []string
	for _, p := range portsOf(s) {
		names = append(names, p.name)
		if p.name == words[2] {
			apps = append(apps, p.app)
		}
	}
	slices.Sort(names)
	switch names = slices.Compact(names); len(apps) {
	case 1:
		return slices.Insert(slices.Clone(words), 2, apps[0]), nil
	case 0:
		f := fault.New(fault.Usage, "there is no port %q", words[2])
		if like := spec.Nearest(words[2], names); like != "" {
			return nil, f.WithFix(`did you mean "` + like + `"?`)
		}
		if len(names) > 0 {
			f = f.WithFix("known: " + strings.Join(names, ", "))
		}
		return nil, f
	}
	return nil, fault.New(fault.Usage, "%s all have a port %q", strings.Join(apps, ", "), words[2]).
		WithFix("name the app: set port " + apps[0] + " " + strings.Join(words[2:], " "))
}

// port is a named port of an app.
type port struct{ app, name string }

func portsOf(s spec.Spec) []port {
	var list []port
	for _, a := range s.Apps {
		for _, name := range api.PortNames(a) {
			list = append(list, port{a.Name, name})
		}
	}
	return list
}
