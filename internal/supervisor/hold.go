package supervisor

// Hold makes the next Apply leave these apps at rest, as if an order had stopped
// them: they had been stopped when the project ran last.
func (s *Supervisor) Hold(apps []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = apps
}

// takeHeld is what Hold has named; it counts once.
func (s *Supervisor) takeHeld() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.held
	s.held = nil
	return held
}

// Stopped lists the apps that an order has stopped, or that are held, by name.
func (s *Supervisor) Stopped() []string {
	var names []string
	for _, p := range s.all() {
		if p.Halted() {
			names = append(names, p.Name())
		}
	}
	return names
}
