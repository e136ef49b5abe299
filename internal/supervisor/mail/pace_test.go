package mail

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A thousand frames in a second are heard at once, more are not.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pace
		begin := time.Now()
		for range paceFrames - 1 {
			p.Keep(t.Context(), 10)
		}
		if d := time.Since(begin); d != 0 {
			t.Errorf("waited %s", d)
		}
		p.Keep(t.Context(), 10)
		if d := time.Since(begin); d != time.Second {
			t.Errorf("waited %s", d)
		}
		p.Keep(t.Context(), paceFrames*paceBytes)
		if d := time.Since(begin); d != 2*time.Second {
			t.Errorf("waited %s for much", d)
		}
		ctx, end := context.WithCancel(t.Context())
		end()
		p.Keep(ctx, paceFrames*paceBytes)
		if d := time.Since(begin); d != 2*time.Second {
			t.Errorf("waited %s after the end", d)
		}
	})
}

// A pace of one's own; Full tells without waiting.
func TestPaceOfOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := Pace{Frames: 10, Window: 100 * time.Millisecond, Bytes: 100}
		for range 8 {
			if left := p.Note(time.Now(), 99); left != 0 || p.Full(time.Now()) {
				t.Fatal(left)
			}
		}
		<-time.After(40 * time.Millisecond)
		if left := p.Note(time.Now(), 100); left != 60*time.Millisecond || !p.Full(time.Now()) {
			t.Error(left)
		}
		<-time.After(60 * time.Millisecond)
		if p.Full(time.Now()) || p.Note(time.Now(), 0) != 0 {
			t.Error("the next window is full")
		}
	})
}
