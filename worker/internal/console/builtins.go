package console

import (
	"fmt"
	"io"
	"maps"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"slices"
	"time"
)

// builtin is a command that every program has.
type builtin struct {
	help string
	run  func(io.Writer)
}

// builtins of the console, by name.
func builtins(p Program) map[string]builtin {
	all := map[string]builtin{
		"goroutines": {"where the goroutines are, those at one place counted", goroutines},
		"heap":       {"memory: what is in use, what the system gave, collections", heap},
		"gc":         {"collect garbage now", collect},
		"metrics":    {"the figures of the Go runtime", showMetrics},
		"version":    {"what program this is, and how it was built", version},
		"vars":       {"the program's published variables", func(w io.Writer) { vars(w, p) }},
		"quit":       {"leave; the program runs on", nil},
	}
	all["help"] = builtin{"this list", func(w io.Writer) { help(w, all, p) }}
	return all
}

func help(w io.Writer, all map[string]builtin, p Program) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(w, "  %-12s %s\n", name, all[name].help)
	}
	for _, c := range p.Commands() {
		line := c.Name
		if c.Pattern != "" {
			line += " " + c.Pattern
		}
		fmt.Fprintf(w, "  %-12s %s\n", line, c.Help)
	}
}

func goroutines(w io.Writer) {
	if p := pprof.Lookup("goroutine"); p != nil {
		_ = p.WriteTo(w, 1) // whoever asked has left
	}
}

func heap(w io.Writer) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fmt.Fprintf(w, "in use      %s in %d objects\n", size(m.HeapAlloc), m.HeapObjects)
	fmt.Fprintf(w, "allocated   %s since the start\n", size(m.TotalAlloc))
	fmt.Fprintf(w, "from system %s, heap %s, returned %s\n", size(m.Sys), size(m.HeapSys), size(m.HeapReleased))
	fmt.Fprintf(w, "collections %d, next at %s, paused %v in all\n", m.NumGC, size(m.NextGC), time.Duration(m.PauseTotalNs))
	fmt.Fprintf(w, "goroutines  %d\n", runtime.NumGoroutine())
}

func size(n uint64) string {
	const mib = 1 << 20
	return fmt.Sprintf("%.1f MiB", float64(n)/mib)
}

func collect(w io.Writer) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begun := time.Now()
	runtime.GC()
	took := time.Since(begun)
	runtime.ReadMemStats(&after)
	fmt.Fprintf(w, "%s before, %s now, in %v\n", size(before.HeapAlloc), size(after.HeapAlloc), took.Round(time.Microsecond))
}

// showMetrics prints the runtime's single figures.
func showMetrics(w io.Writer) {
	all := metrics.All()
	samples := make([]metrics.Sample, len(all))
	for i, m := range all {
		samples[i].Name = m.Name
	}
	metrics.Read(samples)
	for _, s := range samples {
		switch s.Value.Kind() {
		case metrics.KindUint64:
			fmt.Fprintf(w, "%s %d\n", s.Name, s.Value.Uint64())
		case metrics.KindFloat64:
			fmt.Fprintf(w, "%s %g\n", s.Name, s.Value.Float64())
		case metrics.KindBad, metrics.KindFloat64Histogram:
		}
	}
}

func version(w io.Writer) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		fmt.Fprintln(w, runtime.Version())
		return
	}
	fmt.Fprintf(w, "%s %s, %s\n", info.Path, info.Main.Version, info.GoVersion)
	for _, s := range info.Settings {
		fmt.Fprintf(w, "  %s=%s\n", s.Key, s.Value)
	}
}

func vars(w io.Writer, p Program) {
	if p.Vars == nil {
		fmt.Fprintln(w, "the program publishes none (Options.Vars)")
		return
	}
	p.Vars(func(name string, value fmt.Stringer) { fmt.Fprintf(w, "%s %s\n", name, value) })
}
