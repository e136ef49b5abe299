package handoff

import "sync"

// teller calls functions in order in a goroutine that lives while there are any.
type teller struct {
	mu    sync.Mutex
	queue []func()
}

// say never blocks.
func (t *teller) say(do func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queue = append(t.queue, do)
	if len(t.queue) == 1 {
		go t.run()
	}
}

func (t *teller) run() {
	for {
		t.mu.Lock()
		do := t.queue[0]
		t.mu.Unlock()
		do()
		t.mu.Lock()
		t.queue = t.queue[1:]
		over := len(t.queue) == 0
		t.mu.Unlock()
		if over {
			return
		}
	}
}
