package spec

import (
	"errors"
	"path/filepath"
	"regexp"
	"regexp/syntax"
)

func (a App) checkReady(c check) {
	r := a.Ready
	c.oneOf("mode", string(r.Mode), string(ReadyAuto), string(ReadyNotify), string(ReadyListening),
		string(ReadyProbe), string(ReadyPort), string(ReadyOutput), string(ReadyAlive))
	switch r.Mode {
	case ReadyListening:
		if len(a.Listen) == 0 {
			c.add("mode", "add listen, or use another mode", "listening waits for inherited listeners, but the app has no listen")
		}
	case ReadyProbe:
		if a.Health == nil {
			c.add("mode", "add health, or use another mode", "probe waits for the health check, but the app has no health")
		}
	case ReadyPort:
		if len(a.Ports) == 0 {
			c.add("mode", "add ports, or use another mode", "port waits for the worker's own ports, but the app has no ports")
		}
	case ReadyOutput:
		if r.Pattern == "" {
			c.add("pattern", "write the expression to wait for, such as `output: listening on`", "the pattern is missing")
		}
	case ReadyAlive:
		c.positive("for", r.For, "1s")
	}
	if _, err := regexp.Compile(r.Pattern); err != nil {
		c.add("pattern", "see https://golang.org/s/re2syntax", "%q is no regular expression (%s)", r.Pattern, regexpCause(err))
	}
	if r.Pattern != "" && r.Mode != ReadyOutput {
		c.add("pattern", "write mode: output, or remove the pattern", "a pattern is of no use with the mode %s", r.Mode)
	}
	c.notNegative("for", r.For)
	c.positive("timeout", r.Timeout, "60s")
}

func regexpCause(err error) string {
	var bad *syntax.Error
	if errors.As(err, &bad) {
		return bad.Code.String()
	}
	return err.Error()
}

func (a App) checkHealth(c check) {
	h := a.Health
	targets := 0
	for _, set := range []bool{h.URL != "", h.Address != "", h.Command != nil} {
		if set {
			targets++
		}
	}
	switch {
	case targets != 1:
		c.add("", "write one of http, tcp and cmd", "a check has one target, this one has %d", targets)
	case h.Type == "http":
		c.err("http", checkURL(h.URL))
	case h.Type == "tcp":
		c.err("tcp", checkDialAddress(h.Address))
	case h.Type == "cmd":
		c.argv("cmd", h.Command)
	default:
		c.oneOf("type", h.Type, "http", "tcp", "cmd")
	}
	c.repeats("interval", h.Interval, "10s")
	c.repeats("start_interval", h.StartInterval, "1s")
	c.positive("timeout", h.Timeout, "1s")
	if h.Failures < 1 {
		c.add("failures", "write 1 or more", "%d is too few", h.Failures)
	}
	c.notNegative("grace", h.Grace)
}

func (r Restart) check(c check) {
	c.oneOf("policy", string(r.Policy), string(RestartAlways), string(RestartOnFailure), string(RestartNever))
	c.repeats("delay", r.Delay, "100ms")
	if !isNumber(r.Factor) || r.Factor < 1 {
		c.add("factor", "write 1 or more, such as 2", "%v would make the delays shorter and shorter", r.Factor)
	}
	if r.MaxDelay < r.Delay {
		c.add("max_delay", "write at least "+r.Delay.String(), "%s is shorter than the delay %s", r.MaxDelay, r.Delay)
	}
	if !isNumber(r.Jitter) || r.Jitter < 0 || r.Jitter >= 1 {
		c.add("jitter", "write a part such as 0.2 (± 20 %)", "%v is not between 0 and 1", r.Jitter)
	}
	c.notNegative("min_uptime", r.MinUptime)
	c.notNegative("reset_after", r.ResetAfter)
	if r.Limit < 0 {
		c.add("limit", "write 0 for no limit", "%d is negative", r.Limit)
	}
	if r.Limit > 0 {
		c.positive("window", r.Window, "60s")
	}
	c.notNegative("window", r.Window)
}

func (s Stop) check(c check) {
	if s.Signal != "" {
		name, err := ParseSignal(s.Signal)
		c.err("signal", err)
		switch {
		case err == nil && (name == "SIGSTOP" || name == "SIGCONT" || name == "SIGCHLD"):
			c.add("signal", "use SIGTERM, SIGINT or SIGQUIT", "%s ends no program", name)
		case err == nil && name != s.Signal:
			c.add("signal", "write "+name, "%q is not the signal's full name", s.Signal)
		}
	}
	c.notNegative("timeout", s.Timeout)
	if s.Command != nil {
		c.argv("command", s.Command)
	}
	if len(s.Message) > maxStopMessage {
		c.add("message", "write a word such as shutdown", "%d bytes are too many", len(s.Message))
	}
}

// maxStopMessage bounds the message of a stop, in bytes.
const maxStopMessage = 4096

func (r Reload) check(c check) {
	c.within("batch", r.Batch, 1, MaxWorkers)
	switch {
	case r.Surge < SurgeAuto:
		c.add("surge", "write auto, or 0 to the size of the batch", "%d is negative", r.Surge)
	case r.Surge > max(r.Batch, 1):
		c.add("surge", "lower surge, or raise batch", "%d is more than the batch of %d", r.Surge, r.Batch)
	}
	c.notNegative("ready_timeout", r.ReadyTimeout)
	c.notNegative("soak", r.Soak)
}

// minMemory: a smaller limit is a forgotten unit.
const minMemory = 1 << 20

func (l Limits) check(c check) {
	if l.Memory < 0 || l.Memory > 0 && l.Memory < minMemory {
		c.add("memory", "write a size with its unit, such as 512MiB", "%s is too small for any program", l.Memory)
	}
	if !isNumber(l.CPU) || l.CPU < 0 {
		c.add("cpu", "write the number of cores, such as 0.5 or 2", "%v is no number of cores", l.CPU)
	}
	if l.Nice != nil {
		c.within("nice", *l.Nice, -20, 19)
	}
	if l.OOMScore != nil {
		c.within("oom_score", *l.OOMScore, -1000, 1000)
	}
	if l.Core != nil && *l.Core < 0 {
		c.add("core", "write 0 or more", "%d is negative", int64(*l.Core))
	}
}

func (l Log) check(c check) {
	c.oneOf("target", string(l.Target), string(LogFile), string(LogJournald), string(LogSyslog), string(LogNone))
	c.oneOf("format", l.Format, "json", "text")
	switch {
	case l.File == "":
	case l.Target != LogFile:
		c.add("file", "write target: file, or remove file", "a file is of no use with the target %s", l.Target)
	case !filepath.IsAbs(l.File):
		c.add("file", "write an absolute path", "%q is not absolute", l.File)
	}
	if l.LineMax < 128 || l.LineMax > 16<<20 {
		c.add("line_max", "use 128B to 16MiB", "%s is out of range", l.LineMax)
	}
	if l.MaxSize < 4096 {
		c.add("max_size", "write a size with its unit, such as 50MB", "%s is too small for a log file", l.MaxSize)
	}
	c.within("max_files", l.MaxFiles, 0, 10000)
	c.within("lines", l.Lines, 0, 1000000)
}
