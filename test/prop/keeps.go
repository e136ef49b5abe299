package main

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/muster-run/muster/peer"
	"github.com/muster-run/muster/worker"
)

// keeper is a worker with one of everything that has to outlive an agent.
type keeper struct {
	*worker.Worker
	agents, plain, queued, gaps atomic.Int64
	cache                       *peer.Cache[string]
	held                        *peer.Held // by the worker in slot 0
}

// keeps subscribes (the channel keep, plainly and in a queue), listens (keep:who), offers
// a command (keeping), fills a cache, and in slot 0 holds a lock. Asked for "state" it
// tells how all of that is; it does not ask anew for any of it.
func keeps() int {
	k := &keeper{}
	return worker.Run(worker.Options{
		OnAgent: func(peer.AgentInfo) { k.agents.Add(1) },
		OnGap:   func(int) { k.gaps.Add(1) },
	}, func(ctx context.Context, w *worker.Worker) error {
		k.Worker = w
		if err := k.begin(ctx); err != nil {
			return err
		}
		w.Handle("state", func(context.Context, *peer.Request) (any, error) { return k.state(), nil })
		if err := w.Ready(); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	})
}

func (k *keeper) begin(ctx context.Context) error {
	me, err := k.Hello(ctx)
	if err != nil {
		return err
	}
	for queue, count := range map[string]*atomic.Int64{"": &k.plain, "q": &k.queued} {
		if _, err := k.Subscribe(ctx, "keep", peer.SubscribeOptions{Queue: queue}, func(context.Context, *peer.Message) { count.Add(1) }); err != nil {
			return err
		}
	}
	if _, err := k.Hear(ctx, []string{"keep:who"}, func(context.Context, *peer.Request) (any, error) { return me.Name, nil }); err != nil {
		return err
	}
	if _, err := k.AddCommand(ctx, peer.Command{Name: "keeping"}, func(context.Context, map[string]any) (any, error) { return "kept by " + me.Name, nil }); err != nil {
		return err
	}
	if k.cache, err = peer.NewCache[string](ctx, k.Peer, "keep", peer.CacheOptions{}); err != nil {
		return err
	}
	if me.Slot == 0 {
		k.held, err = k.Lock("keep", peer.LockOptions{Lease: 2 * time.Second}).Acquire(ctx)
	}
	return err
}

// state is told once; the cache has a value from then on.
func (k *keeper) state() string {
	_, cached := k.cache.Get("x")
	_ = k.cache.Set("x", "y", time.Hour) // its errors are about sizes
	lock := "-"
	if k.held != nil {
		lock = fmt.Sprintf("%d %v", k.held.Fence(), k.held.Err())
	}
	return strings.Join([]string{
		fmt.Sprintf("agents %d", k.agents.Load()), fmt.Sprintf("plain %d", k.plain.Load()), fmt.Sprintf("queued %d", k.queued.Load()),
		fmt.Sprintf("gaps %d", k.gaps.Load()), fmt.Sprintf("cached %v", cached), "lock " + lock,
	}, "\n")
}
