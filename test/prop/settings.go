package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/peer"
	"github.com/muster-run/muster/worker"
)

// settings prints the settings of its app whenever they change. Asked for "order" it
// tries to reload an app that there is not, and answers the code of what came of it.
func settings() int {
	return worker.Run(worker.Options{}, func(ctx context.Context, w *worker.Worker) error {
		w.OnConfig(func(s peer.Settings) {
			text, err := json.Marshal(s)
			fmt.Println("config", string(text), err)
		})
		w.Handle("order", func(ctx context.Context, _ *peer.Request) (any, error) {
			return fault.CodeOf(w.Reload(ctx, "nosuch", "")), nil
		})
		w.Handle("role", func(context.Context, *peer.Request) (any, error) { return os.Getenv("MUSTER_ROLE"), nil })
		if _, err := w.Hello(ctx); err != nil {
			return err
		}
		if err := w.Ready(); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	})
}
