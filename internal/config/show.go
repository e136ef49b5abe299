package config

import (
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/muster-run/muster/spec"
)

// shown is a value as it is printed: a text, a list or a map.
type shown struct {
	path  string
	text  string
	quote bool // it is a text that must stay one ("1", "true")
	items []*shown
	pairs []shownPair
}

type shownPair struct {
	key   string
	value *shown
}

func (s *shown) add(key string, v *shown) {
	if v != nil {
		s.pairs = append(s.pairs, shownPair{key, v})
	}
}

// showText is nil for "".
func showText(path, s string) *shown {
	return &shown{path: path, text: escape(s), quote: true}
}

func showWords(path string, list []string) *shown {
	if list == nil {
		return nil
	}
	s := &shown{path: path, items: []*shown{}}
	for _, w := range list {
		s.items = append(s.items, showText("", w))
	}
	return s
}

func showFields(path string, fields []field) *shown {
	s := &shown{path: path, pairs: []shownPair{}}
	for _, f := range fields {
		v := f.value.show(join(path, f.key))
		if v != nil && v.quote && v.text == "" && f.def == "" {
			continue // not set
		}
		s.add(f.key, v)
	}
	if len(s.pairs) == 0 {
		return nil
	}
	return s
}

// leaves calls f for every path that has a value of its own.
func (s *shown) leaves(f func(path string)) {
	if s.pairs == nil {
		f(s.path)
	}
	for _, p := range s.pairs {
		p.value.leaves(f)
	}
}

// node is the YAML of s; origin, when not nil, gives the comment for a path.
func (s *shown) node(origin func(path string) string) *yaml.Node {
	switch {
	case s.pairs != nil:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, p := range s.pairs {
			key := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: p.key}
			value := p.value.node(origin)
			if origin != nil && p.value.pairs == nil && p.value.path != "" {
				comment := "# " + origin(p.value.path)
				if value.Kind == yaml.ScalarNode && value.Style&yaml.LiteralStyle == 0 {
					value.LineComment = comment
				} else {
					key.HeadComment = comment
				}
			}
			n.Content = append(n.Content, key, value)
		}
		return n
	case s.items != nil:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Style: yaml.FlowStyle}
		for _, item := range s.items {
			if item.pairs != nil || item.items != nil {
				n.Style = 0
			}
			n.Content = append(n.Content, item.node(nil))
		}
		return n
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: s.text}
	if s.quote {
		n.Tag = "!!str"
		if strings.Contains(s.text, "\n") {
			n.Style = yaml.DoubleQuotedStyle
		}
	}
	return n
}

// document is the whole effective configuration.
func document(s spec.Spec) *shown {
	doc := showFields("", rootFields(&s))
	apps := &shown{path: "apps", pairs: []shownPair{}}
	for i := range s.Apps {
		draft := &appDraft{App: &s.Apps[i]}
		apps.add(s.Apps[i].Name, showFields("apps."+s.Apps[i].Name, draft.fields()))
	}
	doc.add("apps", apps)
	return doc
}

// Show is the effective configuration as YAML that Load reads again: every
// default filled in, ${VAR} and env_file replaced by their values, secrets
// masked. withOrigin adds a comment that says where each value comes from.
func Show(l *Loaded, withOrigin bool) string {
	var origin func(string) string
	if withOrigin {
		origin = l.Origin
	}
	return render(l.Spec.Masked(), origin)
}

func render(s spec.Spec, origin func(string) string) string {
	out, err := yaml.Dump(document(s).node(origin), yaml.WithIndent(2), yaml.WithLineWidth(-1))
	if err != nil {
		return "# " + err.Error() + "\n"
	}
	return string(out)
}

// Origin says where the value at a path comes from; what lies inside a written
// value has its origin.
func (l *Loaded) Origin(path string) string {
	if o, ok := l.Origins[path]; ok {
		return o
	}
	return "default"
}
