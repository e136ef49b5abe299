package limiter

import (
	"math"
	"time"

	"github.com/muster-run/muster/fault"
)

const (
	// FillMax is the longest time in which a bucket may fill.
	FillMax = 366 * 24 * time.Hour
	// RateMax is how many tokens a second there may be.
	RateMax = 1e9
)

// Limit is a bucket of Burst tokens to which Rate are added in every Interval.
type Limit struct {
	Rate     float64 // above 0
	Burst    float64 // at least 1
	Interval time.Duration
}

// Check says what is wrong with a question for so many tokens (above 0, at most
// Burst): an E-USAGE that says what to write, or nil.
func (l Limit) Check(tokens float64) error {
	switch {
	case !finite(l.Rate) || l.Rate <= 0:
		return usage("a rate above 0, such as 10", "the rate of the limiter is %v", l.Rate)
	case l.Interval <= 0:
		return usage("an interval above 0, such as 1s (1000 milliseconds)", "the interval of the limiter is %s", l.Interval)
	case !finite(l.Burst) || l.Burst < 1:
		return usage("a burst of at least 1: how many tokens may be taken at once", "the burst of the limiter is %v", l.Burst)
	case !finite(tokens) || tokens <= 0:
		return usage("how many tokens are wanted, above 0", "%v tokens are wanted", tokens)
	case tokens > l.Burst:
		return usage("a larger burst, or take less at a time", "%v tokens are more than the burst of %v, so they can never be had", tokens, l.Burst)
	case l.perToken() < 1e9/RateMax:
		return usage("a lower rate, or leave the limiter out", "%v tokens in %s are more than %g a second", l.Rate, l.Interval, RateMax)
	case l.span(l.Burst) > float64(FillMax):
		return usage("a higher rate, or a smaller burst", "the limiter would need more than 366 days to fill")
	}
	return nil
}

func usage(fix, format string, args ...any) error {
	return fault.New(fault.Usage, format, args...).WithFix("write " + fix)
}

func finite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

// perToken is the time in nanoseconds in which a token comes.
func (l Limit) perToken() float64 { return float64(l.Interval) / l.Rate }

// span is the time in nanoseconds in which so many tokens come.
func (l Limit) span(tokens float64) float64 { return tokens * float64(l.Interval) / l.Rate }

// cost of so many tokens; it is never nothing.
func (l Limit) cost(tokens float64) moment {
	return later(spanOf(l.span(tokens)), moment{frac: 1})
}

// depth is the time in which an empty bucket fills. It is a little longer than by the
// numbers: the costs that make up a burst are each rounded, by 2⁻⁵² of themselves.
func (l Limit) depth() moment {
	fill := l.span(l.Burst)
	return spanOf(fill).plus(spanOf(math.Ldexp(fill, -50)))
}

// moment is a time, or a span of it, in nanoseconds and 2⁻⁶⁴ths of one: whole
// nanoseconds would make 1.4 of them, the price of a token at 7e8 a second, 40 % off.
type moment struct {
	ns   int64
	frac uint64
}

// spanOf makes a moment of nanoseconds from 0 to far below 2⁶³.
func spanOf(ns float64) moment {
	whole := math.Floor(ns)
	return moment{int64(whole), uint64(math.Ldexp(ns-whole, 64))}
}

func (m moment) plus(o moment) moment {
	sum := moment{m.ns + o.ns, m.frac + o.frac}
	if sum.frac < m.frac {
		sum.ns++
	}
	return sum
}

func (m moment) minus(o moment) moment {
	rest := moment{m.ns - o.ns, m.frac - o.frac}
	if o.frac > m.frac {
		rest.ns--
	}
	return rest
}

func (m moment) after(o moment) bool { return m.ns > o.ns || m.ns == o.ns && m.frac > o.frac }

func later(a, b moment) moment {
	if b.after(a) {
		return b
	}
	return a
}

// up rounds to the next whole nanosecond.
func (m moment) up() time.Duration {
	if m.frac > 0 {
		return time.Duration(m.ns + 1)
	}
	return time.Duration(m.ns)
}

func (m moment) float() float64 { return float64(m.ns) + math.Ldexp(float64(m.frac), -64) }
