package op

import (
	"math"
	"testing"
	"time"
)

func TestLimiterDefaults(t *testing.T) {
	for in, want := range map[LimiterBody]LimiterBody{
		{Rate: 2.5}: {Rate: 2.5, Burst: 3, IntervalMS: 1000, Tokens: 1},
		{Rate: 0.1}: {Rate: 0.1, Burst: 1, IntervalMS: 1000, Tokens: 1},
		{Rate: -1}:  {Rate: -1, Burst: 1, IntervalMS: 1000, Tokens: 1}, // refused for its rate
		{Rate: 9, Burst: 4, IntervalMS: -5, Tokens: 2}: {Rate: 9, Burst: 4, IntervalMS: -5, Tokens: 2},
	} {
		if got := in.WithDefaults(); got != want {
			t.Errorf("%+v is %+v", in, got)
		}
	}
}

func TestTimes(t *testing.T) {
	for ms, want := range map[int64]time.Duration{
		0: 0, 5: 5 * time.Millisecond, -5: -5 * time.Millisecond,
		math.MaxInt64: math.MaxInt64 / time.Millisecond * time.Millisecond, math.MinInt64: -(math.MaxInt64 / time.Millisecond * time.Millisecond),
	} {
		if got := Time(ms); got != want {
			t.Errorf("%d ms is %d", ms, got)
		}
	}
	for d, want := range map[time.Duration]int64{-time.Second: 0, 0: 0, 1: 1, time.Millisecond: 1, time.Millisecond + 1: 2} {
		if got := Milliseconds(d); got != want {
			t.Errorf("%d is %d ms", d, got)
		}
	}
}
