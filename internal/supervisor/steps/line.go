package steps

import "github.com/muster-run/muster/fault"

// Order waits in a Line. Dropped is called instead of Run when the line is
// cleared.
type Order struct {
	Run     func()
	Dropped func(*fault.Fault)
}

// Line is orders that wait for their turn. Not safe for concurrent use.
type Line struct{ orders []Order }

// Add puts an order at the end.
func (l *Line) Add(o Order) { l.orders = append(l.orders, o) }

// Advance runs orders for as long as free says so.
func (l *Line) Advance(free func() bool) {
	for len(l.orders) > 0 && free() {
		o := l.orders[0]
		l.orders = l.orders[1:]
		o.Run()
	}
}

// Drop tells every order that waits that it will not come to pass.
func (l *Line) Drop(f *fault.Fault) {
	for _, o := range l.orders {
		o.Dropped(f)
	}
	l.orders = nil
}
