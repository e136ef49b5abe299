package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// play is a program with the SDK, for the tests that start one. Its lines on stdout are
// what the tests wait for.
func play(role string) int {
	if role == "parent" {
		return playParent()
	}
	o := Options{StopTimeout: 2 * time.Second}
	if role == "hook hangs" {
		o.StopTimeout = 100 * time.Millisecond
	}
	return Run(o, func(ctx context.Context, w *Worker) error {
		again, err := Open(Options{Off: true})
		fmt.Println("same:", again == w && err == nil, "worker:", IsWorker(), "channel:", os.Getenv("MUSTER_CHANNEL_FD") != "")
		w.OnStop(func(ctx context.Context, cause error) { fmt.Println("hook:", cause) })
		w.OnStop(func(context.Context, error) { panic("in a hook") })
		return playWith(ctx, w, role)
	})
}

func playWith(ctx context.Context, w *Worker, role string) error {
	switch role {
	case "panic":
		spill("milk")
	case "panic error":
		panic(fmt.Errorf("spilled: %w", os.ErrClosed))
	case "nil map":
		nothing()["x"] = 1
	case "goexit":
		runtime.Goexit()
	case "go":
		w.Go(func(context.Context) { spill("juice") })
		select {} // nobody waits for this one
	case "error":
		return errors.New("no milk")
	case "done":
		return nil
	case "hook hangs":
		w.OnStop(func(context.Context, error) { select {} })
		w.Go(func(context.Context) { select {} })
		return nil
	case "wait":
		w.Go(func(ctx context.Context) { <-ctx.Done(); fmt.Println("go ended") })
		fmt.Println("waiting")
		<-ctx.Done()
		return fmt.Errorf("ended: %w", ctx.Err())
	case "stubborn":
		fmt.Println("waiting")
		select {}
	case "serve":
		return playServer(w)
	}
	return nil
}

//go:noinline
func spill(what string) { panic("spilled " + what) }

func nothing() map[string]int { return nil }

// playServer answers GET /slow only when the worker is to end.
func playServer(w *Worker) error {
	l, err := w.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return w.Serve(l, &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			fmt.Println("asked")
			<-w.Draining()
		}
		_, _ = io.WriteString(rw, "served")
	})})
}

// playParent opens a worker and starts itself: the child is none.
func playParent() int {
	if os.Getenv("MUSTER_APP") == "child" {
		_, err := net.FileConn(os.NewFile(3, "channel"))
		fmt.Println("worker:", IsWorker(), "descriptor:", err == nil)
		return 0
	}
	w, err := Open(Options{})
	if err != nil || w.Alone() {
		fmt.Println(err)
		return 1
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), "MUSTER_APP=child")
	child.Stdout = os.Stdout
	if err := child.Run(); err != nil {
		fmt.Println(err)
	}
	_ = unix.Kill(os.Getpid(), unix.SIGTERM) // Draining was not asked for: this ends it
	select {}
}
