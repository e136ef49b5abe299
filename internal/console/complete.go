package console

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/muster-run/muster/internal/op/pattern"
)

// completionTime bounds what a Tab waits for.
const completionTime = time.Second

// complete gives what the last of words may be.
func (c *console) complete(ctx context.Context, words []string) []Candidate {
	ctx, cancel := context.WithTimeout(ctx, completionTime)
	defer cancel()
	last := words[len(words)-1]
	var list []Candidate
	if len(words) == 1 {
		list = c.firstWords(ctx)
	} else {
		list = c.laterWords(ctx, words)
	}
	if len(words) > 1 || strings.HasPrefix(last, "-") {
		list = append(list, c.o.Commander.Complete(ctx, words)...)
	}
	list = slices.DeleteFunc(list, func(k Candidate) bool { return k.Text == "" || !strings.HasPrefix(k.Text, last) })
	slices.SortStableFunc(list, func(a, b Candidate) int { return strings.Compare(a.Text, b.Text) })
	return slices.CompactFunc(list, func(a, b Candidate) bool { return a.Text == b.Text })
}

func (c *console) firstWords(ctx context.Context) []Candidate {
	list := c.o.Commander.Complete(ctx, []string{""})
	for _, w := range c.ownWords() {
		list = append(list, Candidate{Text: w.name, Help: w.help})
	}
	offered, _ := c.o.Agent.Commands(ctx)
	for _, o := range offered.Commands {
		list = append(list, Candidate{Text: o.Name, Help: o.Help})
	}
	return list
}

// laterWords are those that muster's own completion does not know.
func (c *console) laterWords(ctx context.Context, words []string) []Candidate {
	n := len(words) - 1
	switch first := words[0]; {
	case (first == "restart" || first == "stop") && n == 2:
		return texts("clean", "force")
	case first == "set" && words[1] == "port" && n <= 3:
		return c.portWords(ctx, words)
	case first == "set" && n >= 4:
		return texts("now")
	case first == "help" && n == 1:
		return c.firstWords(ctx)
	}
	for _, w := range c.ownWords() {
		if w.name == words[0] && n == 1 {
			return texts(w.words...)
		}
	}
	offered, _ := c.o.Agent.Commands(ctx)
	for _, o := range offered.Commands {
		if p, err := pattern.Parse(o.Pattern); o.Name == words[0] && err == nil {
			return texts(p.ChoicesAt(n - 1)...)
		}
	}
	return nil
}

// portWords are names of ports, or of apps before them.
func (c *console) portWords(ctx context.Context, words []string) []Candidate {
	s, _ := c.o.Agent.Spec(ctx, false) // without an agent there are none
	var list []Candidate
	for _, p := range portsOf(s) {
		switch len(words) {
		case 3:
			list = append(list, Candidate{Text: p.app}, Candidate{Text: p.name, Help: "port of " + p.app})
		case 4:
			if p.app == words[2] {
				list = append(list, Candidate{Text: p.name})
			}
		}
	}
	return list
}

func texts(words ...string) []Candidate {
	var list []Candidate
	for _, w := range words {
		list = append(list, Candidate{Text: w})
	}
	return list
}

// shared is the longest beginning that all have.
func shared(list []Candidate) string {
	if len(list) == 0 {
		return ""
	}
	prefix := list[0].Text
	for _, k := range list {
		for !strings.HasPrefix(k.Text, prefix) {
			prefix = prefix[:len(prefix)-1]
		}
	}
	return strings.ToValidUTF8(prefix, "")
}
