package pool

// Halted says that an order has stopped the app, or that it was never started. One
// that could not be started, or has ended by itself, is not halted.
func (p *Pool) Halted() (halted bool) {
	p.do(func() { halted = !p.wanted && p.startFault == nil })
	return halted
}

// Rest has it recorded that the app is there and at rest.
func (p *Pool) Rest() { p.do(func() { p.changed = true }) }
