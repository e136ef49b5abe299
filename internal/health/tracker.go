package health

// Verdict is what the results so far mean.
type Verdict int

// The verdicts.
const (
	// Starting: no check has passed yet.
	Starting Verdict = iota
	// Healthy: the last check passed.
	Healthy
	// Failing: checks failed in a row, but fewer than Failures.
	Failing
	// Unhealthy: at least Failures checks in a row failed.
	Unhealthy
)

// String is the verdict in one word.
func (v Verdict) String() string {
	switch v {
	case Starting:
		return "starting"
	case Healthy:
		return "healthy"
	case Failing:
		return "failing"
	case Unhealthy:
		return "unhealthy"
	}
	return "unknown"
}

// Tracker turns results into verdicts. It is a plain value for one worker's life;
// the zero Tracker is Starting and takes one failure as Unhealthy.
type Tracker struct {
	// Failures in a row that mean Unhealthy; below 1 counts as 1. It may be
	// changed at any time.
	Failures int

	passed bool // some check has passed
	failed int  // failures in a row since
}

// Observe takes the next result.
func (t *Tracker) Observe(r Result) Verdict {
	switch {
	case r.OK:
		t.passed, t.failed = true, 0
	case t.passed:
		t.failed++
	}
	return t.Verdict()
}

// Verdict is the last verdict.
func (t *Tracker) Verdict() Verdict {
	switch {
	case !t.passed:
		return Starting
	case t.failed == 0:
		return Healthy
	case t.failed < t.Failures:
		return Failing
	}
	return Unhealthy
}

// InARow is how many checks in a row have failed since the last success.
func (t *Tracker) InARow() int { return t.failed }
