package api

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/muster-run/muster/fault"
)

// Selector chooses apps and workers. Its text is one or more of these, with
// commas between them:
//
//	web        the app        web-*      a glob over app names (path.Match)
//	web#2      one worker     tag:edge   apps with a tag (a glob as well)
//	all        every app
type Selector struct {
	terms []term
}

type term struct {
	tag  bool
	glob string
	slot int // -1: all
}

// ParseSelector reads a selector. Its error is a fault of code Usage.
func ParseSelector(text string) (Selector, error) {
	var s Selector
	for part := range strings.SplitSeq(text, ",") {
		t, err := parseTerm(strings.TrimSpace(part))
		if err != nil {
			return Selector{}, err
		}
		s.terms = append(s.terms, t)
	}
	return s, nil
}

func parseTerm(text string) (term, error) {
	t := term{glob: text, slot: -1}
	if rest, ok := strings.CutPrefix(text, "tag:"); ok {
		t.tag, t.glob = true, rest
	} else if text == "all" {
		t.glob = "*"
	} else if name, slot, ok := strings.Cut(text, "#"); ok {
		n, err := strconv.ParseUint(slot, 10, 16)
		if err != nil {
			return t, badSelector(text)
		}
		t.glob, t.slot = name, int(n)
	}
	if _, err := path.Match(t.glob, ""); t.glob == "" || err != nil {
		return t, badSelector(text)
	}
	return t, nil
}

func badSelector(text string) error {
	return fault.New(fault.Usage, "%q selects nothing: write it like web, web#2, web-*, tag:edge or all", text)
}

// Match says whether the app is chosen, and which of its slots: nil means all
// of them, else they are sorted.
func (s Selector) Match(app string, tags []string) (slots []int, ok bool) {
	for _, t := range s.terms {
		if !t.match(app, tags) {
			continue
		}
		if t.slot < 0 {
			return nil, true
		}
		slots, ok = append(slots, t.slot), true
	}
	slices.Sort(slots)
	return slices.Compact(slots), ok
}

func (t term) match(app string, tags []string) bool {
	if !t.tag {
		ok, _ := path.Match(t.glob, app) // checked by parseTerm
		return ok
	}
	return slices.ContainsFunc(tags, func(tag string) bool {
		ok, _ := path.Match(t.glob, tag)
		return ok
	})
}
