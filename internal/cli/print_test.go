package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/cli/show"
	"github.com/muster-run/muster/spec"
)

// plain prints without colours.
func plain(w io.Writer) *show.Printer {
	return show.NewPrinter(w, func(string) string { return "" }, true)
}

// sink is a session whose streams are kept.
func sink() (s *session, out, err *bytes.Buffer) {
	out, err = &bytes.Buffer{}, &bytes.Buffer{}
	return &session{out: plain(out), err: plain(err)}, out, err
}

func TestFaultOnStderr(t *testing.T) {
	s, out, errs := sink()
	f := fault.New(fault.ReloadFailed, "web#0 failed").At("web#0 (pid 7)").WithOutput([]string{"one", "two"}).WithFix("correct it")
	code := s.finish(fmt.Errorf("wrapped: %w", f))
	want := "error: web#0 (pid 7): web#0 failed (E-RELOAD-FAILED)\n  | one\n  | two\n  fix: correct it\n"
	if out.Len() > 0 || errs.String() != want || code != 1 {
		t.Errorf("code %d, stdout %q, stderr\n%s", code, out, errs)
	}
}

// An app's name is left out only where the text begins with it as a word.
func TestFaultNamesItsPlace(t *testing.T) {
	for where, want := range map[string]string{
		"b": "error: b: build ended", "build": "error: build ended", "web": "error: web: build ended",
	} {
		s, _, errs := sink()
		s.finish(fault.New(fault.BuildFailed, "build ended").At(where))
		if !strings.HasPrefix(errs.String(), want+" (") {
			t.Errorf("%s: %s", where, errs)
		}
	}
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{status(42), 42},
		{errors.New("odd"), 1},
		{fmt.Errorf("x: %w", context.Canceled), 130},
		{context.DeadlineExceeded, 124},
		{fault.New(fault.Timeout, "x"), 124},
		{fault.New(fault.NoApp, "x"), 4},
		{fault.New(fault.Denied, "x"), 6},
	} {
		s, _, _ := sink()
		if got := s.finish(c.err); got != c.want {
			t.Errorf("%v: exit code %d, want %d", c.err, got, c.want)
		}
	}
}

func TestReport(t *testing.T) {
	bad := fault.New(fault.ReadyTimeout, "not ready").WithFix("wait")
	for _, c := range []struct {
		name     string
		results  []api.Result
		out, err string
		code     int
	}{
		{"all well", []api.Result{{App: "web", Text: "started"}}, "web: started\n", "next: look\n", 0},
		{"one of one", []api.Result{{App: "web", Fault: bad}}, "", "error: not ready (E-READY-TIMEOUT)\n  fix: wait\n", 1},
		{
			"one of two",
			[]api.Result{{App: "api", Text: "started"}, {App: "web", Fault: bad}},
			"api: started\n",
			"error: web: not ready (E-READY-TIMEOUT)\n  fix: wait\nerror: 1 of 2 apps failed (E-PARTLY)\n  fix: the list above says which and why\n", 7,
		},
	} {
		s, out, errs := sink()
		code := s.finish(s.report(api.Outcome{Results: c.results}, "look"))
		if out.String() != c.out || errs.String() != c.err || code != c.code {
			t.Errorf("%s: code %d, stdout %q, stderr %q", c.name, code, out, errs)
		}
	}
}

func TestConfirmEndsWithCtrlC(t *testing.T) {
	primary, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer primary.Close()
	n, err := unix.IoctlGetInt(int(primary.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(primary.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	s, _, errs := sink()
	s.stdin = terminal
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err = s.confirm(ctx, &upFlags{}, []spec.Change{{App: "web", Action: spec.RemoveApp}})
	if fault.CodeOf(err) != fault.Interrupted || !strings.Contains(errs.String(), "stop and remove web?") {
		t.Errorf("%v, %s", err, errs)
	}
}
