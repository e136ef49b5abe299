package exchange

import (
	"cmp"
	"slices"

	"github.com/muster-run/muster/internal/exchange/whom"
)

// routesMax is how many selectors are remembered.
const routesMax = 4096

// means says whether a selector means a party.
func means(sel whom.Selector, s *seat) bool {
	if s.client {
		return sel.Client(s.p.Name)
	}
	return sel.Worker(s.target(), s.p.Slot)
}

// route is a selector and whom it means now.
type route struct {
	sel     whom.Selector
	version int
	seats   []*seat // available, by name
	turn    int     // where the next one is looked for
}

// route looks a selector up.
func (e *Exchange) route(to string) (*route, error) {
	r := e.routes[to]
	if r == nil {
		sel, err := whom.Parse(to)
		if err != nil {
			return nil, err
		}
		if len(e.routes) >= routesMax {
			clear(e.routes)
		}
		r = &route{sel: sel, version: -1}
		e.routes[to] = r
	}
	if r.version != e.version {
		r.version, r.seats = e.version, r.seats[:0]
		for s := range e.seats {
			if s.available() && means(r.sel, s) {
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
