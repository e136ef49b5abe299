package launch

import (
	"strings"

	"github.com/muster-run/muster/internal/launch/shell"
	"github.com/muster-run/muster/spec"
)

// defaultStop is the stop signal of a program that nothing is known of.
const defaultStop = "SIGTERM"

// hint is what is known of a program.
type hint struct {
	// stop is the signal that ends it gracefully; "": SIGTERM does.
	stop string
	// nonBlocking: it expects inherited sockets not to block, and does not make
	// them so itself.
	nonBlocking bool
	// hangsUp: when it stops, it hangs up on keep-alive clients. args are its
	// arguments. nil: it does not, or it is not known.
	hangsUp func(args []string) bool
	// warning says what will not work as expected, with the remedy.
	warning string
}

// programs is the table of what servers want.
func programs() map[string]hint {
	const quit = "SIGQUIT"
	return map[string]hint{
		"unicorn":  {stop: quit},                    // TERM kills its workers at once
		"nginx":    {stop: quit, nonBlocking: true}, // TERM is its fast shutdown
		"php-fpm":  {stop: quit},
		"resque":   {stop: quit},
		"lighttpd": {stop: "SIGINT"},   // TERM ends it with requests open
		"haproxy":  {stop: "SIGUSR1"},  // soft stop; TERM is immediate
		"apache":   {stop: "SIGWINCH"}, // graceful-stop
		"postgres": {stop: "SIGINT"},   // fast; TERM waits for every client
		"uwsgi": {warning: "uwsgi takes SIGTERM as reload (before 2.1), so stopping it would end in SIGKILL: " +
			"add `--hook-master-start \"unix_signal:15 gracefully_kill_them_all\"` (or `--die-on-term`) to its command"},
		// SIGTERM is right for these; they stand here so that they are known
		// behind an interpreter.
		"gunicorn": {hangsUp: keepsAlive}, "uvicorn": {hangsUp: always}, "hypercorn": {}, "daphne": {}, "granian": {}, "waitress-serve": {},
		"celery": {}, "puma": {}, "falcon": {}, "thin": {}, "sidekiq": {}, "redis-server": {}, "caddy": {},
	}
}

func knownProgram(name string) bool {
	_, ok := programs()[name]
	return ok
}

// StopSignal is the signal that ends a worker of the app: what was written, else
// what its program wants, else SIGTERM.
func StopSignal(app spec.App) string {
	if app.Stop.Signal != "" {
		return app.Stop.Signal
	}
	if h := programs()[lookApp(app).program]; h.stop != "" {
		return h.stop
	}
	return defaultStop
}

// NonBlocking: the program of an app hangs in accept when another worker was
// faster, unless the sockets it inherits are non-blocking.
func NonBlocking(app spec.App) bool { return programs()[lookApp(app).program].nonBlocking }

// HangsUp: the program of an app hangs up on its keep-alive clients when it
// stops. Replaced one by one, its workers would send a client away once for
// every old one it meets; replaced together, once.
func HangsUp(app spec.App) bool {
	h := programs()[lookApp(app).program]
	return h.hangsUp != nil && h.hangsUp(app.Command)
}

func always([]string) bool { return true }

// keepsAlive: gunicorn's default worker closes every connection after its
// answer; those with threads, and the asynchronous ones, keep them.
func keepsAlive(args []string) bool {
	for i, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok && i+1 < len(args) {
			value = args[i+1]
		}
		switch name {
		case "--threads":
			return value != "1"
		case "-k", "--worker-class":
			return value != "sync"
		}
	}
	return false
}

// WrapperOf names what stands, in a process of its own, between muster and the
// server of an app, such as `npm start` or `uv run`. Then LISTEN_PID is not the
// server's.
func WrapperOf(app spec.App) (name string, ok bool) {
	f := lookApp(app)
	return f.wrapper, f.wrapper != ""
}

// lookApp looks at the command line that an app would really run.
func lookApp(app spec.App) found {
	argv := app.Command
	if s := resolve(app); s.touched {
		argv = shell.Finish(s.words)
	} else if app.Shell && len(argv) > 0 {
		argv = shell.Argv(argv[0])
	}
	return look(argv, app.Dir)
}
