package launch

import (
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/launch/shell"
	"github.com/muster-run/muster/spec"
)

// Check says what of an app cannot work on this host, before anything is started: a
// user or group that does not exist (UserUnknown), `cluster: on` for a command that
// hides its Node.js program (NodeLauncher), and a balance that gives connections to
// workers that cannot take them (Config).
func Check(app spec.App) error {
	if err := CheckAccount(app); err != nil {
		return err
	}
	return checkNode(app)
}

// CheckAll is Check of each app: the first that fails. Where none does, warn is told
// what Advise says of them.
func CheckAll(wanted spec.Spec, warn func(fault.Fault)) error {
	for _, app := range wanted.Apps {
		if err := Check(app); err != nil {
			return err
		}
	}
	for _, app := range wanted.Apps {
		for _, f := range Advise(app) {
			warn(f)
		}
	}
	return nil
}

func checkNode(app spec.App) error {
	dealt := dealing(app)
	if dealt == "" && app.Node.Cluster != spec.NodeOn {
		return nil
	}
	s := resolve(app)
	switch {
	case app.Node.Cluster == spec.NodeOn && s.cluster(app) == spec.NodeOff:
		return hidden(s.obstacle).At(app.Name)
	case dealt == "" || s.cluster(app) != spec.NodeOff:
		return nil
	case s.obstacle != nil && s.obstacle.fix != "":
		f := hidden(s.obstacle).At(app.Name)
		f.Text = dealt + " is not possible: " + f.Text
		return f
	}
	what := "a task"
	if program := lookApp(app).program; app.Type != spec.Task && knownProgram(program) {
		what = program
	}
	return fault.New(fault.Config, "%s is not possible: %s takes no connections from muster, as Node.js programs and those with muster's package worker do", dealt, what).
		At(app.Name).WithFix("write slots or shared; or `node: {cluster: on}` for a program that muster does not recognise")
}

// hidden is the fault of a Node.js program that cannot be a worker.
func hidden(o *obstacle) *fault.Fault {
	fix := o.fix
	if fix == "" {
		fix = ownCommand
	}
	verb := " hides the Node.js program behind it"
	if !o.eats || o.alone {
		verb = " makes no worker of Node's cluster"
	}
	return fault.New(fault.NodeLauncher, "%s", o.what+verb+": workers cannot share a port nor take connections from muster").WithFix(fix)
}

// Resolved is the command that is run for an app in the place of its own, as a shell
// would read it, and whether there is one: `npm start` may stand for `node
// server.js`.
func Resolved(app spec.App) (command string, ok bool) {
	s := resolve(app)
	if !s.touched {
		return "", false
	}
	words := append(append([]shell.Word(nil), s.lifted...), s.words...)
	return shell.Join(words), true
}

// adviseNode warns of what stands between muster and a Node.js program.
func adviseNode(app spec.App) (all []fault.Fault) {
	s := resolve(app)
	cluster := s.cluster(app)
	switch {
	case s.obstacle != nil && !s.obstacle.quiet && cluster == spec.NodeOff:
		f := hidden(s.obstacle).At(app.Name)
		f.Fix += "; or `node: {cluster: off}` when that is meant"
		all = append(all, *f)
	case cluster == spec.NodeOn && forks(app, s):
		all = append(all, fault.Fault{
			Code: fault.Config, Where: app.Name,
			Text: s.words[s.script].Text + " calls cluster.fork(), but under muster it is a worker itself (cluster.isPrimary is false) and will not",
			Fix:  "remove the primary's part and write workers:, or write `node: delegate` (muster starts its workers) or `node: off`",
		})
	}
	return all
}

// maxLook is how much of a program is looked at for cluster.fork, in bytes.
const maxLook = 256 << 10

var forkCall = regexp.MustCompile(`\bcluster\s*\.\s*fork\s*\(`)

// forks says whether the program that node runs starts workers of its own.
func forks(app spec.App, s serving) bool {
	if s.script < 0 {
		return false
	}
	f, err := os.Open(inDir(s.words[s.script].Text, app.Dir))
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	text, _ := io.ReadAll(io.LimitReader(f, maxLook))
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(strings.TrimSpace(line), "//") && forkCall.MatchString(line) {
			return true
		}
	}
	return false
}

// adviseBalance knows the servers that take one request at a time: whatever waits
// in the socket of a busy one would wait for it, while another is idle.
func adviseBalance(app spec.App, f found) (all []fault.Fault) {
	one := f.program == "unicorn" || f.program == "gunicorn" && !keepsAlive(f.args)
	for _, l := range app.Listen {
		if one && BalanceOf(app, l) == spec.BalanceSlots {
			all = append(all, fault.Fault{
				Code: fault.Config, Where: app.Name,
				Text: f.program + " serves one request at a time, and with balance: slots the next waits for it while other workers are idle",
				Fix:  "write balance: shared",
			})
			break
		}
	}
	return all
}
