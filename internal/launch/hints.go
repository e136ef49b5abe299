package launch

import "github.com/muster-run/muster/spec"

// defaultStop is the stop signal of a program that nothing is known of.
const defaultStop = "SIGTERM"

// Hint is what is known of a program. The zero Hint: nothing.
type Hint struct {
	// Program is the base name of what really runs: gunicorn for `python3 -m
	// gunicorn`. A program that is known loses its version: php-fpm for php-fpm8.2.
	Program string
	// StopSignal ends it gracefully; "": SIGTERM does.
	StopSignal string
	// Warning says what will not work as expected, with the remedy.
	Warning string
}

// Hints looks through wrappers and interpreters and says what is known of the
// program behind them.
func Hints(argv []string) Hint { return hintOf(look(argv, "")) }

func hintOf(f found) Hint {
	h := Hint{Program: f.program}
	if known, ok := programs()[f.program]; ok {
		h.StopSignal, h.Warning = known.StopSignal, known.Warning
	}
	return h
}

// programs is the table of what servers want.
func programs() map[string]Hint {
	const quit = "SIGQUIT"
	return map[string]Hint{
		"unicorn":  {StopSignal: quit}, // TERM kills its workers at once
		"nginx":    {StopSignal: quit}, // TERM is its fast shutdown
		"php-fpm":  {StopSignal: quit},
		"resque":   {StopSignal: quit},
		"lighttpd": {StopSignal: "SIGINT"},   // TERM ends it with requests open
		"haproxy":  {StopSignal: "SIGUSR1"},  // soft stop; TERM is immediate
		"apache":   {StopSignal: "SIGWINCH"}, // graceful-stop
		"postgres": {StopSignal: "SIGINT"},   // fast; TERM waits for every client
		"uwsgi": {Warning: "uwsgi takes SIGTERM as reload (before 2.1), so stopping it would end in SIGKILL: " +
			"add `--hook-master-start \"unix_signal:15 gracefully_kill_them_all\"` (or `--die-on-term`) to its command"},
		// SIGTERM is right for these; they stand here so that they are known
		// behind an interpreter.
		"gunicorn": {}, "uvicorn": {}, "hypercorn": {}, "daphne": {}, "granian": {}, "waitress-serve": {},
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
	if h := hintOf(lookApp(app)); h.StopSignal != "" {
		return h.StopSignal
	}
	return defaultStop
}

// Wrapper names what stands, in a process of its own, between muster and the
// server, such as `npm start` or `uv run`. Then LISTEN_PID is not the server's.
func Wrapper(argv []string) (name string, ok bool) {
	f := look(argv, "")
	return f.wrapper, f.wrapper != ""
}

// WrapperOf is Wrapper for the command line that an app really runs: in its
// directory, and by the shell when it asks for one.
func WrapperOf(app spec.App) (name string, ok bool) {
	f := lookApp(app)
	return f.wrapper, f.wrapper != ""
}

// lookApp looks at the command line that an app would really run.
func lookApp(app spec.App) found {
	argv := app.Command
	if app.Shell && len(argv) > 0 {
		argv = shellArgv(argv[0])
	}
	return look(argv, app.Dir)
}
