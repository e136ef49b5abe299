package kept

import "github.com/muster-run/muster/internal/op"

// lateMax bounds what is kept of publications for parties that are not back yet.
const lateMax = 4 << 20

// Late is what was published before all parties of an earlier agent were back, for
// those of them that have subscribed. What does not fit any more is not kept.
type Late struct {
	list  []late
	bytes int
}

type late struct {
	sub   Subscription
	frame []byte
}

// Keep keeps a publication for those of left that have subscribed: for each of them, and
// for one of each queue that nobody is in who is here. It returns for how many.
func (l *Late) Keep(left Table, f op.Frame, here func(queue string) bool) (n int) {
	found := map[string]int{}
	for _, p := range left {
		for sub := range p.Subs {
			if sub.Channel == f.Channel && (sub.Queue == "" || !here(sub.Queue)) {
				found[sub.Queue]++
			}
		}
	}
	for queue, parties := range found {
		f.Queue = queue
		frame := f.Append(nil)
		if l.bytes+len(frame) > lateMax {
			continue
		}
		l.list = append(l.list, late{Subscription{f.Channel, queue}, frame})
		l.bytes += len(frame)
		if queue != "" {
			parties = 1
		}
		n += parties
	}
	return n
}

// For gives a party that is back what was kept for it, in order.
func (l *Late) For(p *Party, give func(frame []byte)) {
	rest := l.list[:0]
	for _, e := range l.list {
		if p.Subs[e.sub] {
			give(e.frame)
		}
		if e.sub.Queue == "" || !p.Subs[e.sub] {
			rest = append(rest, e)
		}
	}
	clear(l.list[len(rest):])
	l.list = rest
}

// Drop forgets all of it.
func (l *Late) Drop() { l.list, l.bytes = nil, 0 }
