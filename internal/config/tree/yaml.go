package tree

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// Limits of what is read. They end alias bombs and accidents; no real file comes
// near.
const (
	maxNodes = 100_000 // after aliases are replaced by what they stand for
	maxDepth = 64
)

// converter makes nodes of a YAML document.
type converter struct {
	report func(at Place, text, fix string)
	vars   *Variables
	nodes  int
	full   bool
	open   map[*yaml.Node]bool // the anchors being expanded
}

// Parse returns the document's root, nil when there is none to work with.
func Parse(data []byte, vars *Variables, report func(at Place, text, fix string)) *Node {
	if !utf8.Valid(data) {
		report(badByte(data), "the file is not UTF-8 text", "save it as UTF-8")
		return nil
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithUniqueKeys(false))
	if err != nil {
		report(Place{}, err.Error(), "")
		return nil
	}
	var root, second yaml.Node
	if err := loader.Load(&root); err != nil && !errors.Is(err, io.EOF) {
		at, text, fix := explainSyntax(data, err)
		report(at, text, fix)
		return nil
	}
	if err := loader.Load(&second); err == nil {
		report(Place{second.Line, second.Column}, "a second document begins here", "keep one document in a file")
	} else if !errors.Is(err, io.EOF) {
		at, text, fix := explainSyntax(data, err)
		report(at, text, fix)
	}
	c := &converter{report: report, vars: vars, open: map[*yaml.Node]bool{}}
	if len(root.Content) == 0 {
		return &Node{Shape: Object, At: Place{1, 1}}
	}
	return c.convert(root.Content[0], 0)
}

// convert never returns nil.
func (c *converter) convert(y *yaml.Node, depth int) *Node {
	n := &Node{At: Place{y.Line, y.Column}, Null: true}
	switch {
	case c.full:
		return n
	case depth > maxDepth:
		c.report(n.At, fmt.Sprintf("nested more than %d levels deep", maxDepth), "")
		return n
	}
	if c.nodes++; c.nodes > maxNodes {
		c.full = true
		c.report(n.At, fmt.Sprintf("the file has more than %d values, aliases counted by what they stand for", maxNodes), "")
		return n
	}
	switch y.Kind {
	case yaml.AliasNode:
		return c.alias(y, depth)
	case yaml.SequenceNode:
		n.Shape, n.Null = List, false
		for _, item := range y.Content {
			n.Items = append(n.Items, c.convert(item, depth+1))
		}
	case yaml.MappingNode:
		n.Shape, n.Null = Object, false
		n.Pairs = c.pairs(y, depth)
	case yaml.ScalarNode:
		c.scalar(n, y)
	}
	return n
}

func (c *converter) alias(y *yaml.Node, depth int) *Node {
	if y.Alias == nil || c.open[y.Alias] {
		c.report(Place{y.Line, y.Column}, "the alias *"+y.Value+" contains itself", "")
		return &Node{At: Place{y.Line, y.Column}, Null: true}
	}
	c.open[y.Alias] = true
	defer delete(c.open, y.Alias)
	return c.convert(y.Alias, depth)
}

func (c *converter) scalar(n *Node, y *yaml.Node) {
	n.Null = y.ShortTag() == "!!null"
	n.Text = y.Value
	if y.Style&yaml.TaggedStyle != 0 && y.ShortTag() != "!!str" {
		c.report(n.At, "the tag "+y.ShortTag()+" is not known here", "remove it")
	}
	text, from, err := c.vars.expand(y.Value)
	if err != nil {
		c.report(n.At, err.text, err.fix)
		text = ""
	}
	n.Text, n.From = text, from
}

// pairs resolves merges (<<) and reports keys that stand twice. A key written
// in the map wins over a merged one, an earlier merge over a later one.
func (c *converter) pairs(y *yaml.Node, depth int) []Pair {
	var own, merged []Pair
	seen := map[string]Place{}
	for i := 0; i+1 < len(y.Content); i += 2 {
		k, v := y.Content[i], y.Content[i+1]
		at := Place{k.Line, k.Column}
		if k.Kind == yaml.AliasNode && k.Alias != nil {
			k = k.Alias
		}
		switch first, twice := seen[k.Value]; {
		case k.Kind != yaml.ScalarNode:
			c.report(at, "a key must be a word, not a list or a map", "")
		case k.ShortTag() == "!!merge":
			merged = append(merged, c.merge(v, depth)...)
		case twice:
			c.report(at, fmt.Sprintf("the key %q stands twice", k.Value), fmt.Sprintf("remove it here or in line %d", first.Line))
		case depth == 0 && strings.HasPrefix(k.Value, "x-"):
			// A place for anchors; what it holds matters only where it is used.
		default:
			seen[k.Value] = at
			own = append(own, Pair{k.Value, at, c.convert(v, depth+1)})
		}
	}
	for _, p := range merged {
		if _, there := seen[p.Key]; !there {
			seen[p.Key] = p.At
			own = append(own, p)
		}
	}
	return own
}

func (c *converter) merge(y *yaml.Node, depth int) (all []Pair) {
	n := c.convert(y, depth+1)
	switch n.Shape {
	case Object:
		return n.Pairs
	case List:
		for _, item := range n.Items {
			if item.Shape != Object {
				c.report(item.At, "<< takes maps only", "write <<: *NAME, where NAME is the anchor of a map")
			}
			all = append(all, item.Pairs...)
		}
	default:
		c.report(n.At, "<< takes a map", "write <<: *NAME, where NAME is the anchor of a map")
	}
	return all
}
