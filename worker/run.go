package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
)

// noticeTime is how long the crash notice may take to leave.
const noticeTime = time.Second

// Panic is a panic that nobody caught.
type Panic struct {
	Value any
	// Stack is that of the goroutine, from where it panicked.
	Stack string
}

// Error is the panic's value as text.
func (p *Panic) Error() string { return fmt.Sprint(p.Value) }

// Unwrap is the Value, if that is an error.
func (p *Panic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

func isPanic(err error) bool {
	var p *Panic
	return errors.As(err, &p)
}

// crashes is what nobody caught, in the program's goroutines.
type crashes struct {
	begun sync.WaitGroup // goroutines begun by Go
	first chan error     // the first panic of one of them
	ctx   context.Context
	end   context.CancelFunc // the worker is to end
}

func (c *crashes) begin() {
	c.first = make(chan error, 1)
	c.ctx, c.end = context.WithCancel(context.Background())
}

// Run is the main function of a worker: it opens it, runs f, and returns the exit code.
//
// f's context ends when the worker is to end (Draining); f finishes what is under way
// and returns. Then OnStop's functions run. The code is 0 when f returned nil, or was
// asked to end and returned the context's error or net.ErrClosed. It is 1 when f returned
// another error, or when f or a goroutine begun by Go panicked: muster is told the error
// with its stack, and nobody waits for f any more.
//
//	func main() { os.Exit(worker.Run(worker.Options{}, serve)) }
func Run(o Options, f func(ctx context.Context, w *Worker) error) int {
	w, err := Open(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return fault.ExitCode(err)
	}
	return w.Run(func(ctx context.Context) error { return f(ctx, w) })
}

// Run is the function Run for a Worker that is open already. It closes the Worker.
func (w *Worker) Run(f func(ctx context.Context) error) int {
	w.running.Store(true)
	defer w.running.Store(false)
	w.Draining() // from now on signals end f's context
	ended := make(chan error, 1)
	go guarded(func() error { return f(w.crashes.ctx) }, func(err error) { ended <- err })
	var cause error
	select {
	case cause = <-ended:
	case cause = <-w.crashes.first:
	}
	return w.finish(cause)
}

// Go runs f in a goroutine. A panic in it ends the worker as one in Run's function does;
// without Run it is reported, OnStop's functions run, and the process panics. Its context
// ends when the worker is to end; Run waits for it, as for OnStop's functions.
func (w *Worker) Go(f func(ctx context.Context)) {
	w.crashes.begun.Go(func() {
		guarded(func() error { f(w.crashes.ctx); return nil }, func(err error) {
			switch {
			case err == nil:
			case w.running.Load():
				select {
				case w.crashes.first <- err:
				default: // another one was first
				}
			default:
				w.report(err)
				w.Stop(err)
				panic(err)
			}
		})
	})
}

// guarded runs f and says how it ended, also when it panicked or ended its goroutine.
func guarded(f func() error, ended func(error)) {
	var err error
	returned := false
	defer func() {
		if !returned {
			err = panicOf(recover(), debug.Stack())
		}
		ended(err)
	}()
	err = f()
	returned = true
}

// panicOf is what was recovered as an error.
func panicOf(v any, stack []byte) error {
	if v == nil {
		return &Panic{Value: "the goroutine was ended by runtime.Goexit", Stack: string(stack)}
	}
	return &Panic{Value: v, Stack: trimmed(string(stack))}
}

// trimmed is a stack without what lies above the place of the panic.
func trimmed(stack string) string {
	lines := strings.SplitAfter(stack, "\n")
	for i := 1; i+2 < len(lines); i += 2 {
		if !strings.HasPrefix(lines[i], "panic(") {
			continue
		}
		for i += 2; i+2 < len(lines) && strings.HasPrefix(lines[i], "runtime."); {
			i += 2
		}
		return lines[0] + strings.Join(lines[i:], "")
	}
	return stack
}

// finish ends the worker for a cause, and says the exit code.
func (w *Worker) finish(cause error) int {
	if w.asked() && !isPanic(cause) && (errors.Is(cause, context.Canceled) || errors.Is(cause, net.ErrClosed)) {
		cause = nil
	}
	w.crashes.end()
	if cause != nil {
		w.report(cause)
	}
	w.Stop(cause)
	w.flush()
	if err := w.Close(); err != nil {
		w.log.Debug("the worker's end of operations could not be closed", "error", err)
	}
	if cause != nil {
		return 1
	}
	return 0
}

// asked says that the worker is to end.
func (w *Worker) asked() bool {
	select {
	case <-w.stop.drawn:
		return true
	default:
		return false
	}
}

// report tells people and muster of an error that nobody caught.
func (w *Worker) report(cause error) {
	body := op.CrashBody{Error: cut(cause.Error()), Type: fmt.Sprintf("%T", cause)}
	var p *Panic
	if errors.As(cause, &p) {
		body.Stack, body.Type = cut(p.Stack), fmt.Sprintf("%T", p.Value)
		fmt.Fprintf(os.Stderr, "panic: %v\n\n%s", p, p.Stack)
	} else {
		fmt.Fprintln(os.Stderr, cause)
	}
	if w.Alone() {
		return
	}
	raw, err := json.Marshal(body)
	if err == nil {
		err = w.send(op.Frame{Cmd: op.CmdOp, Op: op.Crash, Body: raw}.Append(nil))
	}
	if err != nil {
		w.log.Warn("muster could not be told of the crash", "error", err)
	}
	w.flush()
}

// cut bounds a text of the notice.
func cut(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), event.CrashMax)], "")
}

// flush waits a moment until all has left that was sent.
func (w *Worker) flush() {
	if w.Alone() {
		return
	}
	ctx, stop := context.WithTimeout(context.Background(), noticeTime)
	defer stop()
	_ = w.conn.Flush(ctx) // there is nobody left to tell
}
