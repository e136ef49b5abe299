package sight

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-run/muster/internal/listener"
)

// world is what a Look sees, and what it has told.
type world struct {
	mu        sync.Mutex
	accepting map[uint64]bool
	blind     bool
	own       []listener.Socket

	accepts, ports int
	idle           [][]uint64
}

func (w *world) look() *Look {
	return &Look{
		Members: func() []int { return []int{7, 5} },
		Accepting: func(_ []int, inodes []uint64) listener.Answer {
			w.mu.Lock()
			defer w.mu.Unlock()
			switch {
			case w.blind:
				return listener.Unknown
			case slices.ContainsFunc(inodes, func(n uint64) bool { return !w.accepting[n] }):
				return listener.No
			}
			return listener.Yes
		},
		Foreign: func([]int, map[uint64]bool) ([]listener.Socket, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return slices.Clone(w.own), nil
		},
		Inodes: []uint64{1, 2}, Patience: 10 * time.Second,
		Accepts:  func() { w.do(func() { w.accepts++ }) },
		HasPorts: func() { w.do(func() { w.ports++ }) },
		Ignores: func(idle []uint64, _ []listener.Socket) {
			w.do(func() { w.idle = append(w.idle, idle) })
		},
	}
}

func (w *world) do(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// What nobody accepts on is named, once; what is seen later still counts.
func TestLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{accepting: map[uint64]bool{1: true}}
		l := w.look()
		l.Ports = map[int]bool{80: true, 81: true}
		done := make(chan struct{})
		go func() { defer close(done); l.Run(t.Context()) }()
		<-time.After(time.Minute)
		w.do(func() {
			if len(w.idle) != 1 || !slices.Equal(w.idle[0], []uint64{2}) || w.accepts+w.ports != 0 {
				t.Errorf("idle %v, %d, %d", w.idle, w.accepts, w.ports)
			}
			w.own = []listener.Socket{{Port: 80}}
		})
		<-time.After(2 * time.Second)
		w.do(func() {
			if w.ports != 0 {
				t.Error("one of two ports is not both")
			}
			w.own = []listener.Socket{{Port: 80}, {Port: 81}}
			w.accepting[2] = true
		})
		<-done
		if w.accepts != 1 || w.ports != 1 || len(w.idle) != 1 {
			t.Errorf("idle %v, %d, %d", w.idle, w.accepts, w.ports)
		}
	})
}

// Where nothing can be seen, the worker gets the benefit of the doubt.
func TestBlind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{blind: true}
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		w.look().Run(ctx)
		if w.accepts != 1 || len(w.idle) != 0 {
			t.Errorf("idle %v, %d", w.idle, w.accepts)
		}
	})
}

func TestSuccessor(t *testing.T) {
	if n := Successor(func() []int { return []int{9, 4, 6} }); n != 4 {
		t.Error(n)
	}
	if n := Successor(func() []int { return nil }); n != 0 {
		t.Error(n)
	}
}
