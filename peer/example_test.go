package peer_test

import (
	"context"
	"fmt"
	"time"

	"github.com/muster-run/muster/peer"
)

// Primitives are the same for one process and for many.
func Example() {
	p := peer.Alone(peer.Options{})
	defer p.Close()
	ctx := context.Background()

	mails := p.Limiter("mail", peer.LimiterOptions{Rate: 1, Interval: time.Minute, Burst: 2})
	for range 3 {
		fmt.Println("allowed:", mails.Allow(ctx, "bob@example.org"))
	}
	err := p.Lock("nightly", peer.LockOptions{}).Do(ctx, func(context.Context) error {
		n, err := p.Counter("runs").Add(ctx, 1)
		fmt.Println("run", n)
		return err
	})
	fmt.Println(err)
	// Output:
	// allowed: true
	// allowed: true
	// allowed: false
	// run 1
	// <nil>
}

func ExamplePeer_Handle() {
	p := peer.Alone(peer.Options{})
	defer p.Close()
	remove := p.Handle("chat:say", func(ctx context.Context, r *peer.Request) (any, error) {
		var said struct{ Text string }
		if err := r.Decode(&said); err != nil {
			return nil, err
		}
		// What is sent with ctx counts as sent from here: circles end.
		_, err := p.Publish(ctx, "room", said)
		return "heard", err
	})
	defer remove()
	err := p.Request(context.Background(), "web#1", "chat:say", map[string]string{"Text": "hello"}, nil)
	fmt.Println(err)
	// Output: chat:say to web#1 needs muster, and this program runs without it (E-ALONE)
}

func ExampleNewCache() {
	p := peer.Alone(peer.Options{})
	defer p.Close()
	ctx := context.Background()
	users, err := peer.NewCache[string](ctx, p, "users", peer.CacheOptions{TTL: time.Minute})
	if err != nil {
		fmt.Println(err)
		return
	}
	load := func(context.Context) (string, error) { fmt.Println("loaded"); return "Bob", nil }
	for range 2 {
		name, _ := users.Fill(ctx, "bob", 0, load)
		fmt.Println(name)
	}
	_, _ = users.Del(ctx, "bob") // in every process
	// Output:
	// loaded
	// Bob
	// Bob
}
