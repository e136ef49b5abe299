package steps

import (
	"testing"
	"time"
)

// End waits for those that run, and lets none begin.
func TestErrands(t *testing.T) {
	var e Errands
	release, ended := make(chan struct{}), make(chan struct{})
	for range 3 {
		e.Go(func() { <-release })
	}
	go func() { e.End(); close(ended) }()
	refused := func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.ended
	}
	for deadline := time.Now().Add(10 * time.Second); !refused(); {
		if time.Now().After(deadline) {
			t.Fatal("End has not begun")
		}
		<-time.After(time.Millisecond)
	}
	e.Go(func() { t.Error("one began after End") })
	select {
	case <-ended:
		t.Error("End did not wait")
	default:
	}
	close(release)
	<-ended
}

// Without any there is nothing to wait for.
func TestNoErrands(t *testing.T) {
	var e Errands
	e.End()
}
