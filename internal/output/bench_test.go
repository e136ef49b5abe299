package output

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/spec"
)

// flood gives the same 64 KiB again and again.
type flood struct {
	data []byte
	n    int
	next int64
}

func (f *flood) Next(context.Context) (int, []byte, time.Time, error) {
	if f.n == 0 {
		return 0, nil, time.Time{}, io.EOF
	}
	f.n--
	f.next += int64(len(f.data))
	return 1, f.data, time.Now(), nil
}

func (f *flood) Where() (pos, next int64, skipped int) {
	return f.next - int64(len(f.data)), f.next, 0
}
func (*flood) Commit(pos int64, skip [2]int64) error { return nil }
func (*flood) Close() error                          { return nil }

// BenchmarkLines: one worker's lines of 100 bytes into a JSON file.
func BenchmarkLines(b *testing.B) {
	o := Options{App: "web", Log: spec.DefaultLog(), File: b.TempDir() + "/web.log"}
	benchmarkLines(b, o)
}

// BenchmarkLinesOnce: the same, with an intent.
func BenchmarkLinesOnce(b *testing.B) {
	o := Options{App: "web", Log: spec.DefaultLog(), File: b.TempDir() + "/web.log"}
	var err error
	if o.Intent, err = NewIntent(); err != nil {
		b.Fatal(err)
	}
	benchmarkLines(b, o)
}

func benchmarkLines(b *testing.B, o Options) {
	l, err := Open(o)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	const perChunk = 600
	data := []byte(strings.Repeat(strings.Repeat("x", 99)+"\n", perChunk))
	b.ResetTimer()
	a := l.Attach(b.Context(), Worker{ID: "flood"}, &flood{data: data, n: b.N/perChunk + 1}, nil)
	<-a.Done()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}

// BenchmarkRead: lines read back from a file.
func BenchmarkRead(b *testing.B) {
	o := Options{App: "web", Log: spec.DefaultLog(), File: b.TempDir() + "/web.log"}
	l, err := Open(o)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	data := []byte(strings.Repeat(strings.Repeat("x", 99)+"\n", 600))
	<-l.Attach(b.Context(), Worker{}, &flood{data: data, n: 300}, nil).Done()
	b.ResetTimer()
	n := 0
	for n < b.N {
		if err := l.Read(Filter{}, -1, func(api.Record) error { n++; return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "lines/s")
}
