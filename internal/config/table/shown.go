package table

import (
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/muster-run/muster/internal/config/tree"
)

// Shown is a value as it is printed: a text, a list or a map.
type Shown struct {
	path  string
	text  string
	quote bool // it is a text that must stay one ("1", "true")
	items []*Shown
	pairs []shownPair
}

type shownPair struct {
	key   string
	value *Shown
}

// ShowPlain shows what is no text: a number, a size, true. It is printed as it
// is.
func ShowPlain(path, s string) *Shown { return &Shown{path: path, text: s} }

// ShowText shows a text, which must be read as one again.
func ShowText(path, s string) *Shown {
	return &Shown{path: path, text: tree.Escape(s), quote: true}
}

// ShowList is an empty list, to which Append adds.
func ShowList(path string) *Shown { return &Shown{path: path, items: []*Shown{}} }

// ShowMap is an empty map, to which Add adds.
func ShowMap(path string) *Shown { return &Shown{path: path, pairs: []shownPair{}} }

// ShowWords shows a list of texts, nil for a nil list.
func ShowWords(path string, list []string) *Shown {
	if list == nil {
		return nil
	}
	s := ShowList(path)
	for _, w := range list {
		s.Append(ShowText("", w))
	}
	return s
}

// ShowFields shows a map by its table, nil when no field says anything.
func ShowFields(path string, fields []Field) *Shown {
	s := ShowMap(path)
	for _, f := range fields {
		v := f.Value.Show(Join(path, f.Key))
		if v != nil && v.quote && v.text == "" && f.Default == "" {
			continue // not set
		}
		s.Add(f.Key, v)
	}
	if len(s.pairs) == 0 {
		return nil
	}
	return s
}

// Append adds an item to a list.
func (s *Shown) Append(v *Shown) { s.items = append(s.items, v) }

// Add adds an entry to a map; a nil one is left out.
func (s *Shown) Add(key string, v *Shown) {
	if v != nil {
		s.pairs = append(s.pairs, shownPair{key, v})
	}
}

// Scalar is the text of what is neither a list nor a map.
func (s *Shown) Scalar() (text string, ok bool) {
	return s.text, s.pairs == nil && s.items == nil
}

// Leaves calls f for every path that has a value of its own.
func (s *Shown) Leaves(f func(path string)) {
	if s.pairs == nil {
		f(s.path)
	}
	for _, p := range s.pairs {
		p.value.Leaves(f)
	}
}

// YAML prints s; origin, when not nil, gives the comment for a path.
func (s *Shown) YAML(origin func(path string) string) (string, error) {
	out, err := yaml.Dump(s.node(origin), yaml.WithIndent(2), yaml.WithLineWidth(-1))
	return string(out), err
}

func (s *Shown) node(origin func(path string) string) *yaml.Node {
	switch {
	case s.pairs != nil:
		return s.mapping(origin)
	case s.items != nil:
		return s.sequence()
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

func (s *Shown) mapping(origin func(path string) string) *yaml.Node {
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
}

// sequence is in one line unless an item is more than a text.
func (s *Shown) sequence() *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Style: yaml.FlowStyle}
	for _, item := range s.items {
		if item.pairs != nil || item.items != nil {
			n.Style = 0
		}
		n.Content = append(n.Content, item.node(nil))
	}
	return n
}
