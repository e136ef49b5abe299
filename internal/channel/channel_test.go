package channel

import (
	"context"
	"fmt"
	"testing"
	"time"
)

func TestSmoke(t *testing.T) {
	for _, peek := range []bool{false, true} {
		a, b, _ := Pair()
		x, y := Open(a, Options{}), Open(b, Options{Peek: peek})
		ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
		go func() {
			for i := range 1000 {
				if err := x.Send(fmt.Appendf(nil, "{\"n\":%d}", i), a); err != nil {
					t.Error(err)
				}
			}
		}()
		for i := range 1000 {
			f, err := y.Receive(ctx)
			if err != nil || string(f.Data) != fmt.Sprintf("{\"n\":%d}", i) || len(f.FDs) != 1 {
				t.Fatal(i, string(f.Data), f.FDs, err)
			}
			closeAll(f.FDs)
		}
		stop()
		x.Close()
		_, err := y.Receive(context.Background())
		t.Log(err)
		y.Close()
	}
}
