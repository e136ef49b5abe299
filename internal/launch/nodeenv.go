package launch

import (
	"maps"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/launch/shell"
	"github.com/muster-run/muster/spec"
)

// Node's own numbers: the debugger's port, and where it begins again.
const (
	debugPort = 9229
	minPort   = 1024
	maxPort   = 65535
)

// nodeArgv is the command of a worker: what its launchers would run, with a
// debugger port and a profile of its own. nil: the app's command as it is.
func nodeArgv(w Worker, s serving) []string {
	var more []string
	if s.node >= 0 && w.Number > 0 {
		options := shell.Texts(s.words[s.node+1:s.script], 0)
		if at, ok := inspects(options); ok {
			more = append(more, "--inspect-port="+portBeside(at, w.Number))
		}
		if named(options, "--prof") && !named(options, "--logfile") {
			more = append(more, "--logfile=v8-%p.log")
		}
	}
	if !s.touched && len(more) == 0 {
		return nil
	}
	words := s.words
	if len(more) > 0 {
		at := s.script
		if s.words[at-1].Text == "--" {
			at--
		}
		words = append(append(append([]shell.Word(nil), words[:at]...), shell.Plain(more)...), words[at:]...)
	}
	return shell.Finish(words)
}

// inspects says whether options ask for the debugger, and where: the last
// [HOST:]PORT of them, "" for Node's own. --prof and its kin are not meant.
func inspects(options []string) (at string, ok bool) {
	for i, option := range options {
		name, value, has := strings.Cut(option, "=")
		switch name = nodeOption(name); name {
		case "--inspect", "--inspect-brk", "--inspect-wait", "--inspect-brk-node":
			ok = true
		case "--inspect-port", "--debug-port":
			if ok = true; !has && i+1 < len(options) {
				value, has = options[i+1], true
			}
		default:
			continue
		}
		if has {
			at = value
		}
	}
	return at, ok
}

// portBeside is the [HOST:]PORT for the worker with a number: as Node's own primary
// counts them. Port 0 stays: the system chooses.
func portBeside(at string, number int) string {
	host, text, err := net.SplitHostPort(at)
	if err != nil {
		if host, text = "", at; strings.Trim(at, "0123456789") != "" {
			host, text = strings.Trim(at, "[]"), ""
		}
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		port = debugPort
	}
	if port > 0 {
		if port += number; port > maxPort {
			port = minPort + (port-maxPort-1)%(maxPort-minPort+1)
		}
	}
	if host == "" {
		return strconv.Itoa(port)
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

func named(options []string, name string) bool {
	for _, option := range options {
		if n, _, _ := strings.Cut(option, "="); nodeOption(n) == name {
			return true
		}
	}
	return false
}

// addLauncher sets what the launchers that were taken away would have set.
func addLauncher(env map[string]string, s serving) {
	maps.Copy(env, s.env)
	if s.bin != "" {
		path := s.bin
		if env["PATH"] != "" {
			path += string(filepath.ListSeparator) + env["PATH"]
		}
		env["PATH"] = path
	}
}

// addNode sets what makes a Node.js program a worker of muster's, or, with
// NodeDelegate, a primary that leaves its work to muster.
func addNode(env map[string]string, w Worker, s serving) error {
	cluster := s.cluster(w.App)
	if s.dealt(w.App) {
		addDealt(env, w)
	}
	if cluster == spec.NodeOff || !s.isNode && w.App.Node.Cluster != spec.NodeOn {
		return nil // NODE_CHANNEL_FD would only confuse a Node.js program that it runs
	}
	if port := listenPort(w.App); port != "" && env["PORT"] == "" {
		env["PORT"] = port
	}
	if w.ChannelFD == 0 || w.Number == 0 {
		return nil
	}
	env["NODE_CHANNEL_FD"] = strconv.Itoa(w.ChannelFD)
	if cluster == spec.NodeOn {
		if mode := modeOf(env, s); mode != "" && mode != "json" {
			return fault.New(fault.Config, "NODE_CHANNEL_SERIALIZATION_MODE=%s is not understood", mode).At(w.App.Name).
				WithFix("remove it: messages to and from muster are JSON")
		}
		env["NODE_UNIQUE_ID"] = strconv.Itoa(w.Number)
		if counts(w.App) {
			env["MUSTER_COUNT"] = "1"
		}
	}
	options := nodeOptions(w, env["NODE_OPTIONS"], s, cluster)
	if options != "" {
		env["NODE_OPTIONS"] = strings.TrimSpace(env["NODE_OPTIONS"] + options)
	}
	if cluster == spec.NodeOn && strings.Contains(options, " --require ") {
		env["MUSTER_DRAIN_MS"] = strconv.FormatInt(drainTime(w.App.Stop.Timeout.D()).Milliseconds(), 10)
	}
	return nil
}

// addDealt tells a program that is not Node.js that connections come over its channel.
func addDealt(env map[string]string, w Worker) {
	if w.ChannelFD == 0 || w.Number == 0 {
		return
	}
	env["MUSTER_DEALT"] = "1"
	if counts(w.App) {
		env["MUSTER_COUNT"] = "1"
	}
}

// drainTime is how long the preload may hold idle connections: shorter than until the
// stop signal comes, which is sent at 0.8 of the stop timeout in any case.
func drainTime(stop time.Duration) time.Duration { return stop * 6 / 10 }

// keepOut leaves out a preload that the app's user cannot read: Node.js would not even
// start with it. A program that is its own primary cannot do without.
func keepOut(w *Worker, who account, s serving) error {
	if who.identity == nil || w.Preload == "" {
		return nil
	}
	dir := barred(*who.identity, w.Preload)
	if dir == "" {
		return nil
	}
	w.Preload = ""
	if s.cluster(w.App) != spec.NodeDelegate {
		return nil
	}
	return fault.New(fault.StateDir, "`node: delegate` is not possible: its user may not pass through %s", dir).At(w.App.Name).
		WithFix("set MUSTER_RUNTIME_DIR to a directory below one that is open to all, such as /run/muster")
}

// modeOf is the serialization that the environment, or the command line, asks for.
func modeOf(env map[string]string, s serving) string {
	mode := env["NODE_CHANNEL_SERIALIZATION_MODE"]
	for _, word := range s.words[:max(s.node, 0)] {
		if value, ok := strings.CutPrefix(word.Text, "NODE_CHANNEL_SERIALIZATION_MODE="); ok {
			mode = value
		}
	}
	return mode
}

// nodeOptions is what is added to NODE_OPTIONS, each with a space in front.
func nodeOptions(w Worker, there string, s serving, cluster spec.NodeCluster) string {
	options := ""
	if cluster == spec.NodeOn {
		at, _ := inspects(strings.Fields(there))
		options = " --inspect-port=" + portBeside(at, w.Number)
	}
	if w.Preload != "" && (cluster == spec.NodeDelegate || drains(w.App, there, s)) {
		options += " --require " + optionWord(w.Preload)
	}
	return options
}

// drains: Node's permission model would not let the program load a file that it
// does not name.
func drains(app spec.App, options string, s serving) bool {
	all := strings.Fields(options)
	if s.node >= 0 {
		all = append(all, shell.Texts(s.words[s.node+1:s.script], 0)...)
	}
	return !app.Node.NoDrain && !named(all, "--permission") && !named(all, "--experimental-permission")
}

// optionWord writes a word of NODE_OPTIONS.
func optionWord(s string) string {
	if !strings.ContainsAny(s, " \"\\") {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// listenPort is the port of the app's first listener, "" when it has none of its own.
func listenPort(app spec.App) string {
	if len(app.Listen) == 0 || !strings.HasPrefix(app.Listen[0].Network, "tcp") {
		return ""
	}
	_, port, err := net.SplitHostPort(app.Listen[0].Address)
	if err != nil || port == "0" {
		return ""
	}
	return port
}
