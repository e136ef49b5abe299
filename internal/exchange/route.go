package exchange

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
)

const (
	// clientPrefix begins the names of clients.
	clientPrefix = "client:"
	// routesMax is how many selectors are remembered.
	routesMax = 4096
)

// selector is one of package api that may name clients, too. "all" and globs over apps
// mean no clients: they are no workers.
type selector struct {
	workers *api.Selector
	clients []string // globs
}

// parseSelector reads one. Its error is a fault of code Usage.
func parseSelector(text string) (selector, error) {
	var s selector
	var rest []string
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		name, client := strings.CutPrefix(part, clientPrefix)
		if !client {
			rest = append(rest, part)
			continue
		}
		if _, err := path.Match(name, ""); name == "" || err != nil {
			return selector{}, fault.New(fault.Usage, "%q selects nothing: write client:NAME", part)
		}
		s.clients = append(s.clients, name)
	}
	if len(rest) > 0 {
		w, err := api.ParseSelector(strings.Join(rest, ","))
		if err != nil {
			return selector{}, err
		}
		s.workers = &w
	}
	return s, nil
}

// matches says whether it means a party.
func (s selector) matches(p *seat) bool {
	if p.client {
		return s.names(strings.TrimPrefix(p.p.Name, clientPrefix))
	}
	return s.means(p.target(), p.p.Slot)
}

func (s selector) names(client string) bool {
	return slices.ContainsFunc(s.clients, func(glob string) bool {
		ok, _ := path.Match(glob, client)
		return ok
	})
}

func (s selector) means(t api.Target, slot int) bool {
	if s.workers == nil {
		return false
	}
	slots, ok := s.workers.Match(t)
	return ok && (slots == nil || slices.Contains(slots, slot))
}

// route is a selector and whom it means now.
type route struct {
	selector
	version int
	seats   []*seat // available, by name
	turn    int     // where the next one is looked for
}

// route looks a selector up.
func (e *Exchange) route(to string) (*route, error) {
	r := e.routes[to]
	if r == nil {
		sel, err := parseSelector(to)
		if err != nil {
			return nil, err
		}
		if len(e.routes) >= routesMax {
			clear(e.routes)
		}
		r = &route{selector: sel, version: -1}
		e.routes[to] = r
	}
	if r.version != e.version {
		r.version, r.seats = e.version, r.seats[:0]
		for s := range e.seats {
			if s.available() && r.matches(s) {
				r.seats = append(r.seats, s)
			}
		}
		slices.SortFunc(r.seats, byName)
	}
	return r, nil
}

// byName orders parties by app and slot, workers before clients.
func byName(a, b *seat) int {
	if a.client != b.client {
		if a.client {
			return 1
		}
		return -1
	}
	return cmp.Or(cmp.Compare(a.p.App, b.p.App), cmp.Compare(a.p.Slot, b.p.Slot), cmp.Compare(a.p.Name, b.p.Name), cmp.Compare(a.p.ID, b.p.ID))
}

// others are all but the asker, who means itself only by its exact name. The list is
// valid while the mutex is held.
func (r *route) others(asker *seat, to string) []*seat {
	i := slices.Index(r.seats, asker)
	if i < 0 || asker.p.Name == to {
		return r.seats
	}
	return slices.Delete(slices.Clone(r.seats), i, i+1)
}

// pick finds the one with the fewest requests under way, in turn among equals. nil:
// nobody is there, or only those that are full, such as full.
func (r *route) pick(asker *seat, to string) (best, full *seat) {
	n, at := len(r.seats), 0
	for i := range n {
		at = (r.turn + i) % n
		s := r.seats[at]
		switch {
		case s == asker && asker.p.Name != to:
		case best != nil && len(s.serving) >= len(best.serving):
		case !s.room(1, 1):
			full = s
		default:
			best = s
			if len(s.serving) == 0 {
				r.turn = at + 1
				return best, nil
			}
		}
	}
	if best != nil {
		r.turn = slices.Index(r.seats, best) + 1
	}
	return best, full
}
