package console

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
)

// S1.10: the words of the console become flags of muster's commands.
func TestTranslation(t *testing.T) {
	for line, want := range map[string]string{
		"status":                     "status",
		"muster status":              "status",
		"restart web":                "restart web",
		"restart web clean":          "restart web",
		"restart web force":          "restart web --now",
		"stop web#1 force":           "stop web#1 --now",
		"stop web --now":             "stop web --now",
		"set port http 8080":         "set port web http 8080",
		"set port http 8080 now":     "set port web http 8080 --now",
		"set port main 8080":         "set port web main 8080",
		"set port api admin 81 now":  "set port api admin 81 --now",
		"set port web http 81 --now": "set port web http 81 --now",
		"set probe web 5s":           "set probe web 5s",
		"set probe web 5s now":       "set probe web 5s --now",
		"status -q # now":            "status -q",
	} {
		d := &desk{}
		if code := d.piped(t, line); code != 0 || len(d.given) != 1 || d.given[0] != want {
			t.Errorf("%q: exit code %d, gives %q, want %q; %s", line, code, d.given, want, d.said())
		}
	}
}

func TestRefusals(t *testing.T) {
	for line, want := range map[string]string{
		"statsu":             `: there is no command "statsu"; did you mean "status"?`,
		"qiut":               `did you mean "quit"?`,
		"gret all hello":     `did you mean "greet"?`,
		"xyzzy":              `there is no command "xyzzy"; ` + "`help` lists the commands",
		"restart web fore":   `restart: "fore" is not understood; did you mean "force"?`,
		"set port admin 80":  `web, api all have a port "admin"; name the app: set port web admin 80`,
		"set port htp 80":    `there is no port "htp"; did you mean "http"?`,
		"set port zzz 80":    `known: admin, http, main`,
		"exit now":           `exit: "now" is not understood; write exit`,
		"quit force":         `quit: "force" is not understood`,
		"exit clean force":   `exit: "force" is not understood`,
		"greet all 12x":      `greet: N: "12x" is not a whole number; write greet TO [N:int]`,
		"help statsu":        `did you mean "status"?`,
		"greet":              `greet: TO is missing, a word; write greet TO [N:int]`,
		"broken x":           `the pattern "N:" cannot be read`,
		"status 'x":          `a quote is open`,
		"status | less":      `more than one command`,
		"status > somewhere": `no redirections`,
	} {
		d := &desk{commands: []api.Command{{Name: "greet", Pattern: "TO [N:int]"}, {Name: "broken", Pattern: "N:"}}}
		code := d.piped(t, line+"\nstatus\n")
		if code != 2 || !strings.Contains(d.said(), want) || len(d.given) != 0 || len(d.asked) != 0 {
			t.Errorf("%q: exit code %d, says %q, want %q; gives %q", line, code, d.said(), want, d.given)
		}
	}
}

func TestNoAgentForCommands(t *testing.T) {
	d := &desk{gone: fault.New(fault.AgentUnreachable, "nobody")}
	if code := d.piped(t, "xyzzy"); code != 2 || !strings.Contains(d.said(), "no agent answers") {
		t.Errorf("%d %s", code, d.said())
	}
	if code := d.piped(t, "set port http 1"); code != 5 {
		t.Errorf("%d %s", code, d.said())
	}
}

// Piped: the first that fails ends it, with its exit code.
func TestPiped(t *testing.T) {
	for _, c := range []struct {
		lines string
		code  int
		given []string
	}{
		{"", 0, nil},
		{"\n\n# nothing\n", 0, nil},
		{"status\r\nlogs", 0, []string{"status", "logs"}},
		{"start\nstatus\nlogs\n", 3, []string{"start", "status"}},
		{"quit\nstatus", 0, nil},
		{"start\nexit\nstatus", 0, []string{"start"}},
	} {
		d := &desk{codes: map[string]int{"status": 3}}
		if c.code == 0 {
			d.codes = nil
		}
		if code := d.piped(t, c.lines); code != c.code || cmp.Diff(c.given, d.given) != "" {
			t.Errorf("%q: exit code %d, given %q", c.lines, code, d.given)
		}
		if strings.Contains(d.out.String(), ">") {
			t.Errorf("a prompt: %q", &d.out)
		}
	}
}

// endless is what /dev/zero gives.
type endless struct{ n int }

func (e *endless) Read(p []byte) (int, error) {
	if e.n += len(p); e.n > 2*lineMax {
		panic("it reads on and on")
	}
	return len(p), nil
}

// What is piped in by mistake is not read into memory whole; a long message is taken.
func TestLongLine(t *testing.T) {
	d := &desk{}
	if code := d.piped(t, "status "+strings.Repeat("x", lineMax-10)+"\nlogs"); code != 0 || len(d.given) != 2 {
		t.Errorf("exit code %d, %d given", code, len(d.given))
	}
	d = &desk{}
	if code := d.piped(t, "", func(o *Options) { o.Stdin = &endless{} }); code != 2 || !strings.Contains(d.said(), "longer than 4 MiB") {
		t.Errorf("exit code %d: %s", code, d.said())
	}
}

// exit ends the session only where the console belongs to it.
func TestExit(t *testing.T) {
	attached := func(o *Options) { o.Attached = true }
	d := &desk{}
	if code := d.piped(t, "exit force\nstatus"); code != 0 || len(d.given) != 0 || !strings.Contains(d.out.String(), "goes on") {
		t.Errorf("a client: %d %q %q", code, d.given, &d.out)
	}
	for line, want := range map[string]string{
		"exit":       "down --reason exit from the console",
		"exit clean": "down --reason exit from the console",
		"exit force": "down --reason exit from the console --now",
	} {
		d := &desk{}
		if code := d.piped(t, line+"\nstatus", attached); code != 0 || cmp.Diff([]string{want}, d.given) != "" {
			t.Errorf("%s: %d %q", line, code, d.given)
		}
	}
	d = &desk{codes: map[string]int{"down": 1}}
	if code := d.piped(t, "exit", attached); code != 1 {
		t.Errorf("down fails: %d", code)
	}
	d = &desk{}
	if code := d.piped(t, "quit\nstatus", attached); code != 0 || len(d.given) != 0 {
		t.Errorf("quit: %d %q", code, d.given)
	}
}

func TestOfferedCommands(t *testing.T) {
	d := &desk{
		commands: []api.Command{{Name: "greet", Pattern: "TO [N:int]", Help: "say hello", Of: []string{"chat#0"}}, {Name: "status", Pattern: "X"}},
		replies:  api.Replies{Replies: []api.Reply{reply("chat#0", "hello ann")}},
	}
	if code := d.piped(t, "greet ann 3\n"); code != 0 || d.out.String() != "hello ann\n" {
		t.Errorf("%d %q %s", code, &d.out, d.said())
	}
	want := []api.CommandRun{{Name: "greet", Args: map[string]any{"TO": "ann", "N": int64(3)}}}
	if diff := cmp.Diff(want, d.asked); diff != "" {
		t.Error(diff)
	}
	d.piped(t, "status\n") // a word of muster's stays muster's
	if len(d.asked) != 1 || len(d.given) != 1 {
		t.Errorf("%v %v", d.asked, d.given)
	}
	d.out.Reset()
	d.piped(t, "help greet\nhelp quit\nhelp status\nhelp\n")
	for _, text := range []string{"greet TO [N:int]\n\nsay hello\nOffered by chat#0.\n", "quit: leave the console", "Of the application:\n  greet TO [N:int]"} {
		if !strings.Contains(d.out.String(), text) {
			t.Errorf("help lacks %q: %q", text, &d.out)
		}
	}
}

func TestReplies(t *testing.T) {
	down := fault.New(fault.PeerGone, "gone")
	for _, c := range []struct {
		replies []api.Reply
		out     string
		code    int
	}{
		{nil, "", 0},
		{[]api.Reply{reply("a#0", nil)}, "", 0},
		{[]api.Reply{{From: "a#0"}}, "", 0},
		{[]api.Reply{reply("a#0", map[string]int{"n": 1})}, "{\n  \"n\": 1\n}\n", 0},
		{[]api.Reply{reply("a#0", "x"), reply("a#1", 7)}, "a#0: x\na#1: 7\n", 0},
		{[]api.Reply{{From: "a#0", Fault: down}}, "", 1},
		{[]api.Reply{{From: "a#0", Fault: down}, reply("a#1", "x")}, "a#1: x\n", 7},
	} {
		d := &desk{commands: []api.Command{{Name: "greet"}}, replies: api.Replies{Replies: c.replies}}
		if code := d.piped(t, "greet"); code != c.code || d.out.String() != c.out {
			t.Errorf("%+v: %d %q", c.replies, code, &d.out)
		}
		if c.code != 0 && d.failures[0].Where != "a#0" {
			t.Errorf("who failed is not told: %+v", d.failures[0])
		}
	}
}

// An interrupt ends the command that runs; one of the time before does not.
func TestInterrupt(t *testing.T) {
	interrupts := make(chan os.Signal, 1)
	d := &desk{hold: make(chan struct{})}
	interrupts <- os.Interrupt
	go func() { // ends when the command runs
		<-d.hold
		interrupts <- os.Interrupt
	}()
	if code := d.piped(t, "status\nlogs -f\nstatus\n", func(o *Options) { o.Interrupts = interrupts }); code != 130 {
		t.Errorf("exit code %d", code)
	}
	if diff := cmp.Diff([]string{"status", "logs -f"}, d.given); diff != "" {
		t.Error(diff)
	}
}

func TestComplete(t *testing.T) {
	d := &desk{commands: []api.Command{{Name: "greet", Pattern: "MOOD:happy|sad TO", Help: "say hello"}}}
	c := newConsole(d.options())
	for line, want := range map[string]string{
		"re":                 "restart",
		"":                   "exit greet help mute quit restart set status stop unmute",
		"gr":                 "greet",
		"greet ":             "happy sad web web#0 web#1",
		"greet s":            "sad",
		"restart web#":       "web#0 web#1",
		"restart web ":       "clean force web web#0 web#1",
		"exit ":              "clean force web web#0 web#1",
		"set ":               "web web#0 web#1",
		"set port ":          "admin api http main web web#0 web#1",
		"set port web ":      "admin http main web web#0 web#1",
		"set port web ht":    "http",
		"set probe web 5s n": "now",
		"help gr":            "greet",
		"nothing x":          "",
	} {
		words, _ := partial(line)
		var got []string
		for _, k := range c.complete(t.Context(), words) {
			got = append(got, k.Text)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func TestShared(t *testing.T) {
	for _, c := range []struct{ words, want string }{{"", ""}, {"a", "a"}, {"web web#0", "web"}, {"start stop", "st"}, {"a b", ""}, {"xé xè", "x"}} {
		if got := shared(texts(strings.Fields(c.words)...)); got != c.want {
			t.Errorf("%q: %q", c.words, got)
		}
	}
}

func TestListing(t *testing.T) {
	if got := listing(texts("a", "bb", "c"), 9); got != "a   bb  \nc   \n" {
		t.Errorf("%q", got)
	}
	if got := listing([]Candidate{{Text: "a", Help: "does something long"}, {Text: "bb"}}, 12); got != "a   does s…\nbb  \n" {
		t.Errorf("%q", got)
	}
	var many []Candidate
	for i := range listed + 5 {
		many = append(many, Candidate{Text: fmt.Sprint(i)})
	}
	if got := listing(many, 80); !strings.HasSuffix(got, "… and 5 more\n") {
		t.Errorf("%q", got)
	}
}

func TestGate(t *testing.T) {
	var out strings.Builder
	g := newGate(&out)
	g.say("one")
	g.shut()
	for i := range gateKept + 2 {
		g.say(fmt.Sprint("late ", i))
	}
	if out.String() != "one\n" {
		t.Errorf("shut, it prints %q", &out)
	}
	g.open()
	if text := out.String(); strings.Contains(text, "late 1\n") || !strings.Contains(text, "2 lines are not shown") || !strings.HasSuffix(text, "late 101\n") {
		t.Errorf("%q", text)
	}
	before := out.Len()
	g.mute(true)
	g.say("x")
	g.mute(false)
	g.say("y")
	if out.String()[before:] != "y\n" {
		t.Errorf("%q", out.String()[before:])
	}
}
