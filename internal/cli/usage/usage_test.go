package usage

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/fault"
)

func TestNegatives(t *testing.T) {
	for in, want := range map[string]string{
		"scale web -1": "scale web +-1", "scale web +1": "scale web +1", "scale web -q": "scale web -q",
		"logs web -1": "logs web -1", "scale -- -1": "scale -- -1",
	} {
		if got := strings.Join(Negatives(strings.Fields(in)), " "); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestScaleOrder(t *testing.T) {
	cmd := &cobra.Command{Use: "scale APP N|+N|-N"}
	for number, want := range map[string]api.Order{
		"8": {Selector: "web", Workers: 8}, "+2": {Selector: "web", Workers: 2, Relative: true},
		"-1": {Selector: "web", Workers: -1, Relative: true}, "+-1": {Selector: "web", Workers: -1, Relative: true},
	} {
		o, err := ScaleOrder(cmd, "web", number)
		if err != nil || o.Selector != want.Selector || o.Workers != want.Workers || o.Relative != want.Relative {
			t.Errorf("%s: %+v, %v", number, o, err)
		}
	}
	for _, number := range []string{"", "x", "1.5", "99999", "-99999"} {
		if _, err := ScaleOrder(cmd, "web", number); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%q: %v", number, err)
		}
	}
}

func TestLogWindow(t *testing.T) {
	cmd := &cobra.Command{Use: "logs"}
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.Local)
	var o client.LogOptions
	if err := LogWindow(cmd, &o, "all", "10m", now); err != nil || o.Lines != -1 || !o.Since.Equal(now.Add(-10*time.Minute)) {
		t.Errorf("%+v, %v", o, err)
	}
	if err := LogWindow(cmd, &o, "5", "2026-11-22 11:00", now); err != nil || o.Lines != 5 || !o.Since.Equal(now.Add(-time.Hour)) {
		t.Errorf("%+v, %v", o, err)
	}
	for _, c := range [][2]string{{"x", ""}, {"-1", ""}, {"1", "soon"}} {
		if err := LogWindow(cmd, &o, c[0], c[1], now); fault.CodeOf(err) != fault.Usage || !strings.HasPrefix(fault.From(err).Fix, "usage: logs") {
			t.Errorf("%v: %v", c, err)
		}
	}
	if err := LogWindow(cmd, &client.LogOptions{Stream: "both"}, "1", "", now); fault.CodeOf(err) != fault.Usage {
		t.Error(err)
	}
}

// A command that only has others says so, and never succeeds.
func TestGroup(t *testing.T) {
	for line, want := range map[string]string{
		"":     "`notify` needs a command: test",
		"tset": "`notify` knows test, not \"tset\"",
	} {
		cmd := Group(&cobra.Command{Use: "notify", SilenceErrors: true, SilenceUsage: true}, &cobra.Command{Use: "test", Run: func(*cobra.Command, []string) {}})
		cmd.SetArgs(strings.Fields(line))
		if f := fault.From(cmd.Execute()); f == nil || f.Code != fault.Usage || f.Text != want {
			t.Errorf("%q: %v", line, f)
		}
	}
}
