// Package ask asks people questions, on a terminal that others may read after it.
package ask

import (
	"bufio"
	"context"
	"io"
	"os"
	"strings"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/cli/show"
	"github.com/muster-run/muster/internal/console"
)

// Terminal is where somebody can answer.
type Terminal struct {
	In  io.Reader
	Out *show.Printer
}

// Ask asks a question on the terminal; nil is yes, a fault E-INTERRUPTED is no.
// otherwise is the answer of who only presses Enter.
func (t Terminal) Ask(ctx context.Context, question string, otherwise bool) error {
	choice := "[y/N]"
	if otherwise {
		choice = "[Y/n]"
	}
	t.Out.Printf("%s %s ", question, choice)
	answered := make(chan string, 1)
	in, done, err := t.keys(ctx)
	if err != nil {
		return err
	}
	go func() { // ends with the answer, or with ctx
		defer done()
		answer, err := bufio.NewReader(in).ReadString('\n')
		if err != nil && answer == "" {
			answer = "n"
		}
		answered <- strings.ToLower(strings.TrimSpace(answer))
	}()
	select {
	case a := <-answered:
		if a == "y" || a == "yes" || a == "" && otherwise {
			return nil
		}
	case <-ctx.Done():
		t.Out.Line("")
		if _, ends := in.(*console.Input); ends {
			<-answered // the terminal is not touched any more
		}
	}
	return fault.New(fault.Interrupted, "nothing was changed").WithFix("-y answers yes")
}

// keys is stdin until ctx ends: what is typed later is for who reads next.
func (t Terminal) keys(ctx context.Context) (in io.Reader, done func(), err error) {
	if f, ok := t.In.(*os.File); ok {
		return console.NewInput(ctx, f)
	}
	return t.In, func() {}, nil
}
