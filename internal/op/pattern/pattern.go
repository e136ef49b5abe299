package pattern

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// Pattern says which words follow the name of a command of an application:
//
//	KEY          one word
//	N:int        a whole number, of at most 53 bits
//	R:number     a number
//	F:on|off     on or off; other words than these may stand there, two or more
//	TEXT...      all that follow, at least one
//	[N:int]      may be left out; only such may follow
//
// It fits a whole line or not at all: a word too many, or 12x where a number is
// expected, is refused.
type Pattern struct {
	text  string
	slots []slot
}

// slot is one place of a Pattern.
type slot struct {
	name     string
	kind     kind
	choices  []string
	optional bool
}

type kind int

const (
	aWord kind = iota
	anInt
	aNumber
	aSwitch // on or off
	aChoice
	theRest
)

// wholeMax is how far whole numbers are exact in JSON.
const wholeMax = 1<<53 - 1

// Parse reads a pattern; "" takes no words. Its fault is E-USAGE.
func Parse(text string) (Pattern, error) {
	p := Pattern{text: text}
	for word := range strings.FieldsSeq(text) {
		s, ok := parseSlot(word)
		if !ok {
			return p, badPattern(text, "%q is no place for a word", word)
		}
		if slices.ContainsFunc(p.slots, func(o slot) bool { return o.name == s.name }) {
			return p, badPattern(text, "%s is there twice", s.name)
		}
		if n := len(p.slots); n > 0 && p.slots[n-1].optional && !s.optional {
			return p, badPattern(text, "%s cannot follow what may be left out", word)
		}
		if n := len(p.slots); n > 0 && p.slots[n-1].kind == theRest {
			return p, badPattern(text, "nothing can follow %s...", p.slots[n-1].name)
		}
		p.slots = append(p.slots, s)
	}
	return p, nil
}

func badPattern(text, format string, args ...any) error {
	return fault.New(fault.Usage, "the pattern %q cannot be read: "+format, append([]any{text}, args...)...).
		WithFix("write NAME, NAME:int, NAME:number, NAME:on|off or NAME..., in [ ] what may be left out")
}

func parseSlot(word string) (s slot, ok bool) {
	inner, open := strings.CutPrefix(word, "[")
	if inner, s.optional = strings.CutSuffix(inner, "]"); open != s.optional {
		return s, false
	}
	name, typ, typed := strings.Cut(inner, ":")
	if s.name = name; !typed {
		var rest bool
		if s.name, rest = strings.CutSuffix(name, "..."); rest {
			s.kind = theRest
		}
		return s, isName(s.name)
	}
	switch typ {
	case "int":
		s.kind = anInt
	case "number":
		s.kind = aNumber
	case "on|off":
		s.kind, s.choices = aSwitch, []string{"on", "off"}
	default:
		s.kind, s.choices = aChoice, strings.Split(typ, "|")
		ok := len(s.choices) > 1 && !slices.ContainsFunc(s.choices, func(c string) bool { return !isName(c) })
		return s, ok && isName(name)
	}
	return s, isName(name)
}

func isName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
	})
}

// Match gives the words by the names of their places: a string, an int64, a float64, a
// bool (on is true), or for TEXT... a []string. What was left out is not there. Its
// fault, E-USAGE, says at which word what was expected.
func (p Pattern) Match(words []string) (map[string]any, error) {
	args := map[string]any{}
	for i, s := range p.slots {
		switch {
		case i >= len(words) && s.optional:
			return args, nil
		case i >= len(words):
			return nil, misfit("%s is missing, %s", s.name, s.wants())
		case s.kind == theRest:
			args[s.name] = slices.Clone(words[i:])
			return args, nil
		}
		v, ok := s.value(words[i])
		if !ok {
			return nil, s.refuse(words[i])
		}
		args[s.name] = v
	}
	if n := len(p.slots); len(words) > n {
		return nil, misfit("%q is one word too many", words[n])
	}
	return args, nil
}

func (s slot) value(word string) (v any, ok bool) {
	switch s.kind {
	case anInt:
		n, err := strconv.ParseInt(word, 10, 64)
		return n, err == nil && n <= wholeMax && n >= -wholeMax
	case aNumber:
		f, err := strconv.ParseFloat(word, 64)
		return f, err == nil && !math.IsInf(f, 0) && !math.IsNaN(f)
	case aSwitch:
		return word == "on", slices.Contains(s.choices, word)
	case aChoice:
		return word, slices.Contains(s.choices, word)
	case aWord, theRest:
	}
	return word, true
}

// misfit is without a fix: who knows the command's name has one.
func misfit(format string, args ...any) *fault.Fault {
	return fault.New(fault.Usage, format, args...).WithFix("")
}

func (s slot) refuse(word string) error {
	f := misfit("%s: %q is not %s", s.name, word, s.wants())
	if like := spec.Nearest(word, s.choices); like != "" {
		return f.WithFix(`did you mean "` + like + `"?`)
	}
	return f
}

// wants is what stands in a place, in words.
func (s slot) wants() string {
	switch s.kind {
	case anInt:
		return "a whole number"
	case aNumber:
		return "a number"
	case aSwitch, aChoice:
		last := len(s.choices) - 1
		return strings.Join(s.choices[:last], ", ") + " or " + s.choices[last]
	case theRest:
		return "one word or more"
	case aWord:
	}
	return "a word"
}

// ChoicesAt are the words that may stand in the i-th place, where they are few.
func (p Pattern) ChoicesAt(i int) []string {
	if i >= 0 && i < len(p.slots) {
		return p.slots[i].choices
	}
	return nil
}

// Names of its places, in order.
func (p Pattern) Names() []string {
	names := make([]string, len(p.slots))
	for i, s := range p.slots {
		names[i] = s.name
	}
	return names
}

// Typed gives what Match gave its types again, once it has been JSON: whole numbers and
// lists of words have lost them. What is of another type stays as it is.
func (p Pattern) Typed(args map[string]any) map[string]any {
	typed := maps.Clone(args)
	for _, s := range p.slots {
		switch v := args[s.name].(type) {
		case float64:
			if s.kind == anInt && v == math.Trunc(v) && math.Abs(v) <= wholeMax {
				typed[s.name] = int64(v)
			}
		case []any:
			if words, ok := wordsOf(v); ok && s.kind == theRest {
				typed[s.name] = words
			}
		}
	}
	return typed
}

// wordsOf makes a list of words of a list that has only such.
func wordsOf(list []any) (words []string, ok bool) {
	for _, v := range list {
		word, ok := v.(string)
		if !ok {
			return nil, false
		}
		words = append(words, word)
	}
	return words, true
}

// String is the pattern as it was written.
func (p Pattern) String() string { return p.text }
