package handoff

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/muster-run/muster/spec"
)

// clerk is a Receiver whose answers the test decides upon.
type clerk struct {
	seat    *Seat
	offers  chan flight
	pending []flight
	fails   bool
}

func (c *clerk) Give(id int64, conn int) error {
	if c.fails {
		return errors.New("full")
	}
	c.offers <- flight{id, conn}
	return nil
}

func (c *clerk) Ping() error { return nil }

// model is what a run of the property test knows.
type model struct {
	t       *rapid.T
	door    *Door
	clerks  []*clerk
	clients []*net.TCPConn
	dealt   int
	gone    []flight // taken back: never to be answered by those who had them
}

// collect takes note of what was offered.
func (m *model) collect() {
	for _, c := range m.clerks {
		for {
			select {
			case f := <-c.offers:
				c.pending = append(c.pending, f)
				continue
			default:
			}
			break
		}
	}
}

func (m *model) some(pred func(*clerk) bool) *clerk {
	var fit []*clerk
	for _, c := range m.clerks {
		if pred(c) {
			fit = append(fit, c)
		}
	}
	if len(fit) == 0 {
		return nil
	}
	return rapid.SampledFrom(fit).Draw(m.t, "clerk")
}

func (m *model) answer(taken bool) {
	c := m.some(func(c *clerk) bool { return len(c.pending) > 0 })
	if c == nil {
		return
	}
	i := rapid.IntRange(0, len(c.pending)-1).Draw(m.t, "which")
	f := c.pending[i]
	c.pending = slices.Delete(c.pending, i, i+1)
	c.seat.Answer(f.id, taken)
	if taken {
		m.dealt++
	}
}

func (m *model) end() {
	if c := m.some(func(*clerk) bool { return true }); c != nil {
		c.seat.Gone()
		m.collect()
		m.gone = append(m.gone, c.pending...)
		m.clerks = slices.DeleteFunc(m.clerks, func(o *clerk) bool { return o == c })
	}
}

func (m *model) add(fails bool) {
	c := &clerk{offers: make(chan flight, 10_000), fails: fails}
	c.seat = m.door.Join(len(m.clerks), c)
	m.clerks = append(m.clerks, c)
}

// Whatever workers do, each connection is answered by exactly one, under way to one,
// or in hand, or still in the kernel's queue.
func TestExactlyOnce(t *testing.T) {
	noLeak(t)
	files := sockets(t, 1, 4096)
	l := loop(t)
	rapid.Check(t, func(rt *rapid.T) {
		policy := rapid.SampledFrom([]spec.Balance{spec.BalanceRoundRobin, spec.BalanceLeast}).Draw(rt, "policy")
		d, err := l.Open(DoorOptions{Policy: policy, Sockets: files, Window: rapid.IntRange(1, 3).Draw(rt, "window")})
		if err != nil {
			rt.Fatal(err)
		}
		defer d.Close()
		m := &model{t: rt, door: d}
		defer m.hangUp()
		rt.Repeat(map[string]func(*rapid.T){
			"connect": func(*rapid.T) { m.clients = append(m.clients, dial(t, files[0])) },
			"join":    func(*rapid.T) { m.add(false) },
			"joinBad": func(*rapid.T) { m.add(true) },
			"take":    func(*rapid.T) { m.answer(true) },
			"refuse":  func(*rapid.T) { m.answer(false) },
			"gone":    func(*rapid.T) { m.end() },
			"leave": func(*rapid.T) {
				if c := m.some(func(*clerk) bool { return true }); c != nil {
					c.seat.Leave()
				}
			},
			"stale": func(rt *rapid.T) {
				if len(m.gone) > 0 && len(m.clerks) > 0 {
					m.clerks[0].seat.Answer(rapid.SampledFrom(m.gone).Draw(rt, "stale").id, true)
				}
			},
			"load": func(rt *rapid.T) {
				if c := m.some(func(*clerk) bool { return true }); c != nil {
					c.seat.Load(rapid.IntRange(0, 9).Draw(rt, "open"))
				}
			},
			"": func(*rapid.T) { m.check() },
		})
		m.finish()
	})
}

// check compares the door with what was seen.
func (m *model) check() {
	l := m.door.loop
	l.call(func() {}) // the thread has seen what came before
	m.collect()
	st := m.door.Stats()
	if int(st.Dealt) != m.dealt || int(st.Accepted) != m.dealt+st.InHand+st.UnderWay || int(st.Accepted) > len(m.clients) {
		m.t.Fatalf("%d connections, %d dealt: %+v", len(m.clients), m.dealt, st)
	}
}

// finish has a good worker take all that is left.
func (m *model) finish() {
	for len(m.clerks) > 0 {
		c := m.clerks[0]
		c.seat.Gone()
		m.clerks = m.clerks[1:]
	}
	m.add(false)
	seen := map[int64]bool{}
	deadline := time.Now().Add(20 * time.Second)
	for m.dealt < len(m.clients) {
		m.collect()
		c := m.clerks[0]
		for _, f := range c.pending {
			if seen[f.id] {
				m.t.Fatalf("%d was offered twice", f.id)
			}
			seen[f.id] = true
			c.seat.Answer(f.id, true)
			m.dealt++
		}
		c.pending = nil
		if time.Now().After(deadline) {
			m.t.Fatalf("%d of %d connections: %+v", m.dealt, len(m.clients), m.door.Stats())
		}
	}
	if st := m.door.Stats(); st.InHand+st.UnderWay > 0 || int(st.Accepted) != len(m.clients) {
		m.t.Fatal(fmt.Sprintf("%+v", st))
	}
}

func (m *model) hangUp() {
	for _, c := range m.clients {
		c.Close()
	}
}
