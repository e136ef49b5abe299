package clock

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

type entry struct {
	due   time.Time
	place int
}

func (e *entry) Due() time.Time { return e.due }

func (e *entry) Place() *int { return &e.place }

// Everything ends at its deadline, in order, and what was removed never.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var c *Clock[*entry]
		ended := map[*entry]time.Time{}
		rings := 0
		c = New[*entry](func() {
			mu.Lock()
			defer mu.Unlock()
			rings++
			c.Rung(func(e *entry) {
				if len(ended)%2 == 0 {
					c.Remove(e) // or the Clock does
				}
				ended[e] = time.Now()
			}, time.Now())
		})
		random := rand.New(rand.NewPCG(1, 2))
		start := time.Now()
		want, removed := map[*entry]bool{}, map[*entry]bool{}
		for range 500 {
			mu.Lock()
			e := &entry{time.Now().Add(time.Duration(random.IntN(1000)) * time.Millisecond), None}
			c.Add(e)
			want[e] = true
			if random.IntN(3) == 0 {
				c.Remove(e)
				delete(want, e)
				removed[e] = true
			}
			mu.Unlock()
			if random.IntN(10) == 0 {
				<-time.After(10 * time.Millisecond)
			}
		}
		<-time.After(5 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if len(ended) != len(want) || len(c.All()) != 0 {
			t.Errorf("%d of %d have ended, %d are there", len(ended), len(want), len(c.All()))
		}
		for e, at := range ended {
			if removed[e] || !at.Equal(e.due) || e.place != None {
				t.Errorf("due %v, ended %v", e.due.Sub(start), at.Sub(start))
			}
		}
		if rings > len(want)+10 {
			t.Errorf("the timer has fired %d times for %d", rings, len(want))
		}
	})
}

func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New[*entry](func() { t.Error("it rings") })
		c.Stop()
		c.Add(&entry{time.Now().Add(time.Second), None})
		if len(c.All()) != 1 {
			t.Error("it is not there")
		}
		c.Stop()
		<-time.After(time.Minute)
	})
}
