package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/exchange"
	"github.com/muster-run/muster/internal/op"
	"github.com/muster-run/muster/peer"
)

// S0.12: muster has the console opened and closed; commands of the program take the
// words that their patterns say.
func TestConsoleOnDemand(t *testing.T) {
	m := newMuster(t)
	side := m.enter(0, op.Settings{ConsoleDir: t.TempDir()})
	w := side.worker(Options{})
	if _, err := w.AddCommand(within(t), peer.Command{Name: "greet", Pattern: "WHO N:int"}, func(_ context.Context, args map[string]any) (any, error) {
		return fmt.Sprintf("hi %v %v", args["WHO"], args["N"]), nil
	}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the worker knows its settings", func() bool { return w.Settings().ConsoleDir != "" })
	first, second := place(t, m), place(t, m)
	if first != second || first.Path == "" {
		t.Errorf("opened at %+v and %+v", first, second)
	}
	c, err := net.Dial("unix", first.Path)
	closing(t, c, err)
	if _, err := fmt.Fprint(c, "greet bob 3\ngreet bob 12x\nquit\n"); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for lines := bufio.NewScanner(c); lines.Scan(); {
		said.WriteString(lines.Text() + "\n")
	}
	if !strings.Contains(said.String(), "web#0> hi bob 3\n") || !strings.Contains(said.String(), `"12x" is not a whole number`) {
		t.Error(said.String())
	}
	ask(t, m, op.ConsoleClose)
	if _, err := os.Stat(first.Path); !os.IsNotExist(err) {
		t.Error("it is still there", err)
	}
	again := place(t, m)
	w.Close()
	if _, err := os.Stat(again.Path); !os.IsNotExist(err) {
		t.Error("it outlives its worker", err)
	}
}

func TestConsoleNowhere(t *testing.T) {
	m := newMuster(t)
	m.workers(1)
	if a := ask(t, m, op.ConsoleOpen); a.Fault == nil || a.Fault.Code != fault.ConsoleFailed {
		t.Errorf("%+v", a)
	}
}

// ask asks the worker as muster does.
func ask(t *testing.T, m *muster, opName string) exchange.Answer {
	t.Helper()
	list, err := m.exchange.Request(within(t), exchange.Ask{To: "web#0", Op: opName})
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	return list[0]
}

func place(t *testing.T, m *muster) (p op.ConsolePlace) {
	t.Helper()
	if err := json.Unmarshal(ask(t, m, op.ConsoleOpen).Body, &p); err != nil {
		t.Fatal(err)
	}
	return p
}
