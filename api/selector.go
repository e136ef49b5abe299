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
//	all        every app      role:web   apps with a role (a glob as well)
type Selector struct {
	terms []term
}

// Target is an app as selectors see it.
type Target struct {
	App, Role string
	Tags      []string
}

type term struct {
	of   kind
	glob string
	slot int // -1: all
}

// kind is what of an app a term looks at.
type kind int

const (
	byName kind = iota
	byTag
	byRole
)

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
		t.of, t.glob = byTag, rest
	} else if rest, ok := strings.CutPrefix(text, "role:"); ok {
		t.of, t.glob = byRole, rest
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
	return fault.New(fault.Usage, "%q selects nothing: write it like web, web#2, web-*, tag:edge, role:worker or all", text)
}

// Match says whether the app is chosen, and which of its slots: nil means all
// of them, else they are sorted.
func (s Selector) Match(app Target) (slots []int, ok bool) {
	for _, t := range s.terms {
		if !t.match(app) {
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

func (t term) match(app Target) bool {
	switch t.of {
	case byTag:
		return slices.ContainsFunc(app.Tags, t.fits)
	case byRole:
		return t.fits(app.Role)
	default:
		return t.fits(app.App)
	}
}

// fits compares with the glob, which parseTerm has checked.
func (t term) fits(name string) bool {
	ok, _ := path.Match(t.glob, name)
	return ok
}
