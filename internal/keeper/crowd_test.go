package keeper

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/keeper/wire"
)

// TestPutsThatTheKeeperIsSlowToRead: none fails, and none is lost.
func TestPutsThatTheKeeperIsSlowToRead(t *testing.T) {
	ours, theirs, err := channel.Pair()
	if err != nil {
		t.Fatal(err)
	}
	k := channel.Open(ours, channel.Options{})
	defer k.Close()
	const puts = 3000
	failed := make(chan error, 1)
	full := make(chan *Client, 1)
	go func() {
		c, _, err := Dial(theirs)
		if err != nil {
			failed <- err
			return
		}
		full <- c
		for i := range puts {
			if err := c.Store().Put(fmt.Sprint(i), os.Stdin); err != nil {
				failed <- err
				return
			}
		}
		failed <- c.conn.Flush(t.Context())
	}()
	ctx, cancel := context.WithTimeout(t.Context(), atMost)
	defer cancel()
	next := func() (wire.Request, int) {
		f, err := k.Receive(ctx)
		if err != nil {
			t.Fatal(err)
		}
		closeAll(f.FDs)
		r, _, err := wire.DecodeRequest(f.Data)
		if err != nil {
			t.Fatal(err)
		}
		return r, len(f.FDs)
	}
	for range 2 { // hello and list
		r, _ := next()
		data, err := json.Marshal(&wire.Reply{Op: wire.OpReply, ID: r.ID, Hello: &Hello{Protocol: wire.Version}})
		if err == nil {
			err = k.Send(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	c := <-full
	defer c.Close()
	until(t, "much waits", func() bool {
		frames, _ := c.conn.Waiting()
		return frames >= crowded
	})
	for i := range puts {
		if r, fds := next(); string(r.Name) != fmt.Sprint(i) || fds != 1 {
			t.Fatalf("put %d is %q with %d descriptors", i, r.Name, fds)
		}
	}
	if err := <-failed; err != nil {
		t.Error(err)
	}
}
