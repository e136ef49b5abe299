package channel

import (
	"context"
	"io"
	"strings"
	"testing"
)

// BenchmarkRoundTrip is one frame there and one back, between two goroutines.
func BenchmarkRoundTrip(b *testing.B) {
	for name, bm := range map[string]struct {
		size int
		peek bool
		fds  []int
	}{
		"100B": {100, false, nil}, "100B-peek": {100, true, nil}, "16KiB-peek": {16 << 10, true, nil}, "fd-peek": {100, true, []int{0}},
	} {
		b.Run(name, func(b *testing.B) {
			x, y := pair(b, Options{Peek: bm.peek}, Options{Peek: bm.peek})
			go func() {
				for {
					f, err := y.Receive(context.Background())
					if err != nil || y.Send(f.Data, f.FDs...) != nil {
						return
					}
					closeAll(f.FDs)
				}
			}()
			data := []byte(strings.Repeat("x", bm.size))
			b.ReportAllocs()
			b.SetBytes(int64(2 * bm.size))
			for b.Loop() {
				if err := x.Send(data, bm.fds...); err != nil {
					b.Fatal(err)
				}
				f, err := x.Receive(context.Background())
				if err != nil {
					b.Fatal(err)
				}
				closeAll(f.FDs)
			}
			x.Close()
		})
	}
}

// BenchmarkStream is frames in one direction.
func BenchmarkStream(b *testing.B) {
	for name, peek := range map[string]bool{"stream": false, "peek": true} {
		b.Run(name, func(b *testing.B) {
			x, y := pair(b, Options{}, Options{Peek: peek})
			done := make(chan int)
			go func() {
				for n := 0; ; n++ {
					if _, err := y.Receive(context.Background()); err == io.EOF {
						done <- n
						return
					}
				}
			}()
			data := []byte(strings.Repeat("x", 200))
			sent := 0
			for b.Loop() {
				if err := x.Send(data); err != nil {
					if err := x.Flush(context.Background()); err != nil {
						b.Fatal(err)
					}
					continue
				}
				sent++
			}
			_ = x.Flush(context.Background())
			x.Close()
			if n := <-done; n != sent {
				b.Fatalf("%d of %d", n, sent)
			}
		})
	}
}
