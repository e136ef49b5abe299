package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// Limits of a file. They end alias bombs and accidents; no real file comes near.
const (
	maxFile  = 1 << 20 // bytes
	maxNodes = 100_000 // after aliases are replaced by what they stand for
	maxDepth = 64
)

// place is a position in the file, from 1; the zero place is none.
type place struct{ line, column int }

type shape int

const (
	scalar shape = iota
	list
	object
)

func (s shape) String() string { return [...]string{"a single value", "a list", "a map"}[s] }

// node is a value of the file with aliases, merges and ${VAR} resolved, so that
// decoding sees plain data.
type node struct {
	shape shape
	text  string // of a scalar, as written
	null  bool   // nothing, ~ or null
	at    place
	// from says which variables went into the text: "${PORT} from .env".
	from  string
	items []*node
	pairs []pair
}

// pair is one entry of a map.
type pair struct {
	key   string
	at    place
	value *node
}

// get returns the value of a key, nil when it is not there.
func (n *node) get(key string) *node {
	if n == nil {
		return nil
	}
	for _, p := range n.pairs {
		if p.key == key {
			return p.value
		}
	}
	return nil
}

// tree makes nodes of a YAML document.
type tree struct {
	report func(at place, text, fix string)
	vars   *variables
	nodes  int
	full   bool
	open   map[*yaml.Node]bool // the anchors being expanded
}

// parse returns the document's root, nil when there is none to work with.
func parse(data []byte, vars *variables, report func(at place, text, fix string)) *node {
	if !utf8.Valid(data) {
		report(badByte(data), "the file is not UTF-8 text", "save it as UTF-8")
		return nil
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithUniqueKeys(false))
	if err != nil {
		report(place{}, err.Error(), "")
		return nil
	}
	var root, second yaml.Node
	if err := loader.Load(&root); err != nil && !errors.Is(err, io.EOF) {
		at, text, fix := explainSyntax(data, err)
		report(at, text, fix)
		return nil
	}
	if err := loader.Load(&second); err == nil {
		report(place{second.Line, second.Column}, "a second document begins here", "keep one document in a file")
	} else if !errors.Is(err, io.EOF) {
		at, text, fix := explainSyntax(data, err)
		report(at, text, fix)
	}
	t := &tree{report: report, vars: vars, open: map[*yaml.Node]bool{}}
	if len(root.Content) == 0 {
		return &node{shape: object, at: place{1, 1}}
	}
	return t.convert(root.Content[0], 0)
}

func badByte(data []byte) place {
	line, column := 1, 1
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if r == utf8.RuneError && size == 1 {
			break
		}
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
		data = data[size:]
	}
	return place{line, column}
}

// explainSyntax turns an error of the YAML reader into words. It goes by what
// stands at the place, because the reader's own words are about its grammar.
func explainSyntax(data []byte, err error) (at place, text, fix string) {
	var bad *yaml.LoadError
	if !errors.As(err, &bad) {
		return place{}, "the file is not valid YAML (" + err.Error() + ")", ""
	}
	at = place{bad.Mark.Line, bad.Mark.Column}
	line, rest := lineAt(data, at)
	// Inside of a quote or bracket, the place where that begins says more.
	open := place{bad.ContextMark.Line, bad.ContextMark.Column}
	if _, from := lineAt(data, open); open.line > 0 && from != "" && strings.IndexByte("\"'[{", from[0]) >= 0 && open.line < at.line {
		return open, "what " + from[:1] + " begins here is not closed", fmt.Sprintf("close it, at the latest before line %d", at.line)
	}
	switch indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]; {
	case strings.Contains(indent, "\t"):
		return place{at.line, strings.IndexByte(line, '\t') + 1}, "a tab stands in the indentation", "indent with spaces"
	case strings.HasPrefix(rest, ": ") && bad.ContextMsg == "":
		return at, "a second \": \" stands in one line", "quote the value, or begin a new line"
	case strings.HasPrefix(rest, "@"), strings.HasPrefix(rest, "`"), strings.HasPrefix(rest, "%"):
		return at, "a value cannot begin with " + rest[:1], "quote the value"
	}
	text = "not valid YAML: " + bad.Message
	if bad.ContextMsg != "" {
		text += " (" + bad.ContextMsg
		if bad.ContextMark.Line > 0 && bad.ContextMark.Line != at.line {
			text += fmt.Sprintf(" that begins in line %d", bad.ContextMark.Line)
		}
		text += ")"
	}
	return at, text, "look at the indentation, quotes and brackets here and just above"
}

// lineAt returns the line of a place, and what of it stands there and behind.
func lineAt(data []byte, at place) (line, rest string) {
	if lines := strings.Split(string(data), "\n"); at.line >= 1 && at.line <= len(lines) {
		line = lines[at.line-1]
	}
	return line, line[min(max(at.column-1, 0), len(line)):]
}

// convert never returns nil.
func (t *tree) convert(y *yaml.Node, depth int) *node {
	n := &node{at: place{y.Line, y.Column}, null: true}
	switch {
	case t.full:
		return n
	case depth > maxDepth:
		t.report(n.at, fmt.Sprintf("nested more than %d levels deep", maxDepth), "")
		return n
	}
	if t.nodes++; t.nodes > maxNodes {
		t.full = true
		t.report(n.at, fmt.Sprintf("the file has more than %d values, aliases counted by what they stand for", maxNodes), "")
		return n
	}
	switch y.Kind {
	case yaml.AliasNode:
		return t.alias(y, depth)
	case yaml.SequenceNode:
		n.shape, n.null = list, false
		for _, c := range y.Content {
			n.items = append(n.items, t.convert(c, depth+1))
		}
	case yaml.MappingNode:
		n.shape, n.null = object, false
		n.pairs = t.pairs(y, depth)
	case yaml.ScalarNode:
		t.scalar(n, y)
	}
	return n
}

func (t *tree) alias(y *yaml.Node, depth int) *node {
	if y.Alias == nil || t.open[y.Alias] {
		t.report(place{y.Line, y.Column}, "the alias *"+y.Value+" contains itself", "")
		return &node{at: place{y.Line, y.Column}, null: true}
	}
	t.open[y.Alias] = true
	defer delete(t.open, y.Alias)
	return t.convert(y.Alias, depth)
}

func (t *tree) scalar(n *node, y *yaml.Node) {
	n.null = y.ShortTag() == "!!null"
	n.text = y.Value
	if y.Style&yaml.TaggedStyle != 0 && y.ShortTag() != "!!str" {
		t.report(n.at, "the tag "+y.ShortTag()+" is not known here", "remove it")
	}
	text, from, err := t.vars.expand(y.Value)
	if err != nil {
		t.report(n.at, err.text, err.fix)
		text = ""
	}
	n.text, n.from = text, from
}

// pairs resolves merges (<<) and reports keys that stand twice. A key written
// in the map wins over a merged one, an earlier merge over a later one.
func (t *tree) pairs(y *yaml.Node, depth int) []pair {
	var own, merged []pair
	seen := map[string]place{}
	for i := 0; i+1 < len(y.Content); i += 2 {
		k, v := y.Content[i], y.Content[i+1]
		at := place{k.Line, k.Column}
		if k.Kind == yaml.AliasNode && k.Alias != nil {
			k = k.Alias
		}
		switch first, twice := seen[k.Value]; {
		case k.Kind != yaml.ScalarNode:
			t.report(at, "a key must be a word, not a list or a map", "")
		case k.ShortTag() == "!!merge":
			merged = append(merged, t.merge(v, depth)...)
		case twice:
			t.report(at, fmt.Sprintf("the key %q stands twice", k.Value), fmt.Sprintf("remove it here or in line %d", first.line))
		case depth == 0 && strings.HasPrefix(k.Value, "x-"):
			// A place for anchors; what it holds matters only where it is used.
		default:
			seen[k.Value] = at
			own = append(own, pair{k.Value, at, t.convert(v, depth+1)})
		}
	}
	for _, p := range merged {
		if _, there := seen[p.key]; !there {
			seen[p.key] = p.at
			own = append(own, p)
		}
	}
	return own
}

func (t *tree) merge(y *yaml.Node, depth int) (all []pair) {
	n := t.convert(y, depth+1)
	switch n.shape {
	case object:
		return n.pairs
	case list:
		for _, item := range n.items {
			if item.shape != object {
				t.report(item.at, "<< takes maps only", "write <<: *NAME, where NAME is the anchor of a map")
			}
			all = append(all, item.pairs...)
		}
	default:
		t.report(n.at, "<< takes a map", "write <<: *NAME, where NAME is the anchor of a map")
	}
	return all
}
