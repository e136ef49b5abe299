package launch

import (
	"slices"
	"strings"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// Advise says what about an app will probably not work as expected. These are
// warnings: each has a code, a place and a fix, and nothing is refused.
func Advise(app spec.App) []fault.Fault {
	f := lookApp(app)
	var all []fault.Fault
	add := func(code fault.Code, text, fix string) {
		all = append(all, fault.Fault{Code: code, Text: text, Where: app.Name, Fix: fix})
	}
	if warning := programs()[f.program].warning; warning != "" && app.Stop.Signal == "" && !stopsOnTerm(f.args) {
		text, fix, _ := strings.Cut(warning, ": ")
		add(fault.StopKilled, text, fix)
	}
	if supervises(f) {
		add(fault.Config, f.program+" supervises processes itself, so muster sees only "+f.program+" and not the server",
			"write the server's own command; muster restarts, scales and reloads it")
	}
	if !supervises(f) {
		all = append(all, adviseNode(app)...)
	}
	all = append(all, adviseBalance(app, f)...)
	if len(app.Listen) == 0 {
		return all
	}
	if f.wrapper != "" && !supervises(f) && !namesDescriptor(app) {
		add(fault.ListenPID, f.wrapper+" runs the server in another process, which may not accept the sockets of listen:",
			"write the server's own command, `exec` it in the script, or use {{fd:NAME}}")
	}
	if f.program == "gunicorn" {
		adviseGunicorn(f.args, add)
	}
	return all
}

// adviseGunicorn knows the options that do not go with inherited sockets.
func adviseGunicorn(args []string, add func(code fault.Code, text, fix string)) {
	if option := written(args, "--bind", "-b"); option != "" {
		add(fault.Config, "gunicorn's "+option+" is ignored: it serves the sockets of listen:",
			"remove "+option+" from command:")
	}
	if option := written(args, "--reload"); option != "" {
		add(fault.Config, "gunicorn's --reload restarts its workers by itself, so muster cannot keep requests from being lost",
			"remove --reload from command: and use `muster reload`")
	}
	if option := written(args, "--daemon", "-D"); option != "" {
		add(fault.Config, "gunicorn's "+option+" leaves the process that muster started",
			"remove "+option+" from command:")
	}
}

// supervises says whether the program restarts others by itself.
func supervises(f found) bool {
	switch f.program {
	case "pm2", "pm2-runtime", "nodemon", "supervisord", "foreman", "honcho", "overmind", "hivemind":
		return true
	}
	return false
}

// stopsOnTerm says whether uwsgi was told what SIGTERM means.
func stopsOnTerm(args []string) bool {
	for _, arg := range args {
		if strings.Contains(arg, "die-on-term") || strings.Contains(arg, "gracefully_kill_them_all") {
			return true
		}
	}
	return false
}

// namesDescriptor says whether the app tells its server the descriptor itself,
// which works behind any wrapper that leaves descriptors open.
func namesDescriptor(app spec.App) bool {
	texts := append([]string(nil), app.Command...)
	for _, v := range app.Env {
		texts = append(texts, v)
	}
	for _, env := range app.SlotEnv {
		for _, v := range env {
			texts = append(texts, v)
		}
	}
	for _, text := range texts {
		if strings.Contains(text, "{{fd:") {
			return true
		}
	}
	return false
}

// written is the option as it was written, "" when it was not.
func written(args []string, names ...string) string {
	for _, arg := range args {
		name, _, _ := strings.Cut(arg, "=")
		if slices.Contains(names, name) {
			return name
		}
	}
	return ""
}
