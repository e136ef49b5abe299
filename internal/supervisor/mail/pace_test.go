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
