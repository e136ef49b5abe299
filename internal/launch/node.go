package launch

import (
	"strings"

	"github.com/muster-run/muster/internal/launch/shell"
	"github.com/muster-run/muster/spec"
)

// ClusterOf is how far muster is the primary of an app's program: NodeOn, NodeOff or
// NodeDelegate. NodeAuto is resolved by what the command runs: on for a service that
// starts node with a script, also behind npm and its kin where their script can be
// read, and for any other program to which muster is to give connections (Dealt). It
// looks at files of app.Dir, which is a generation's own.
func ClusterOf(app spec.App) spec.NodeCluster {
	return resolve(app).cluster(app)
}

// cluster is that of an app whose command has been looked through.
func (s serving) cluster(app spec.App) spec.NodeCluster {
	switch {
	case app.Node.Cluster == spec.NodeOff, app.Node.Cluster == spec.NodeDelegate:
		return app.Node.Cluster
	case s.obstacle != nil && s.obstacle.eats:
		return spec.NodeOff
	case app.Node.Cluster == spec.NodeOn, s.isNode && s.obstacle == nil && app.Type != spec.Task:
		return spec.NodeOn
	case !s.isNode && s.obstacle == nil && app.Type != spec.Task && dealing(app) != "" && !knownProgram(lookApp(app).program):
		return spec.NodeOn
	}
	return spec.NodeOff
}

// NodeCluster says whether the workers of an app speak Node's cluster protocol on their
// channel.
func NodeCluster(app spec.App) bool { return ClusterOf(app) == spec.NodeOn }

// Cluster is ClusterOf of the worker's app in the worker's directory, which may
// differ from that of another generation.
func (w Worker) Cluster() spec.NodeCluster { return ClusterOf(w.here()) }

// here is the app in the directory of the worker's generation.
func (w Worker) here() spec.App {
	app := w.App
	if w.Dir != "" {
		app.Dir = w.Dir
	}
	return app
}

// serving is the command that really serves, as far as Node.js is concerned.
type serving struct {
	// words is the command line, launchers taken away.
	words []shell.Word
	// isNode says that it runs node with a script; node and script are the places
	// of both in words, -1 where a shell or a #! line starts node.
	isNode       bool
	node, script int
	// env is what a launcher would set, bin what it puts in front of PATH.
	env map[string]string
	bin string
	// lifted are the assignments that went from words to env.
	lifted []shell.Word
	// touched says that words are not the app's own command any more.
	touched bool
	// obstacle is why no worker of Node's cluster can be made of it; nil: none, or
	// it is not about Node.js at all.
	obstacle *obstacle
}

// ownCommand is the fix of most obstacles.
const ownCommand = "write the server's own node command"

// obstacle is what keeps a Node.js program from being a worker.
type obstacle struct {
	// what stands in the way, and what to write instead.
	what, fix string
	// eats: the channel would be taken by a program in front that is Node.js itself,
	// or by none; not even `cluster: on` opens it.
	eats bool
	// alone: nothing stands in front, Node.js itself makes no worker of it.
	alone bool
	// quiet: not worth a warning.
	quiet bool
}

// nodeScript looks at node's command line, node standing at words[at]. script is
// the place of the program that it runs.
func nodeScript(words []shell.Word, at int) (script int, stop *obstacle) {
	for i := at + 1; i < len(words); i++ {
		text := words[i].Text
		name, _, hasValue := strings.Cut(text, "=")
		name = nodeOption(name)
		switch {
		case text == "--":
			if i+1 < len(words) {
				return i + 1, nil
			}
			return -1, &obstacle{what: "node without a script", quiet: true}
		case text == "inspect" || text == "debug":
			return -1, &obstacle{what: "node " + text, fix: "write `node --inspect SCRIPT`, and see `muster inspect`", eats: true}
		case text == "-":
			return -1, &obstacle{what: "node with its program from stdin", quiet: true}
		case !strings.HasPrefix(text, "-"):
			return i, nil
		case name == "-e" || name == "-p" || name == "-pe" || name == "--eval" || name == "--print":
			return -1, &obstacle{what: "node " + text, fix: "write the program into a file: Node.js makes no worker of a text", eats: true, alone: true}
		case name == "--watch" || name == "--watch-path" || name == "--test":
			return -1, &obstacle{what: "node " + name, fix: "remove " + name + " and use `muster reload`", eats: true}
		case nodeTakesValue(name) && !hasValue:
			i++
		}
	}
	return -1, &obstacle{what: "node without a script", quiet: true}
}

// nodeOption is an option's one spelling: node takes _ for - inside of it.
func nodeOption(name string) string {
	if !strings.HasPrefix(name, "--") {
		return name
	}
	return "--" + strings.ReplaceAll(name[2:], "_", "-")
}

// nodeTakesValue: the next word belongs to the option.
func nodeTakesValue(name string) bool {
	switch name {
	case "-r", "--require", "--import", "--loader", "--experimental-loader", "--env-file", "--env-file-if-exists",
		"-C", "--conditions", "--input-type", "--title", "--icu-data-dir", "--openssl-config",
		"--tls-cipher-list", "--tls-keylog", "--diagnostic-dir", "--redirect-warnings",
		"--trace-event-categories", "--trace-event-file-pattern", "--heapsnapshot-signal",
		"--heapsnapshot-near-heap-limit", "--cpu-prof-dir", "--cpu-prof-name", "--cpu-prof-interval",
		"--heap-prof-dir", "--heap-prof-name", "--heap-prof-interval", "--max-http-header-size",
		"--unhandled-rejections", "--dns-result-order", "--disable-warning", "--disable-proto",
		"--report-dir", "--report-directory", "--report-filename", "--report-signal",
		"--secure-heap", "--secure-heap-min", "--v8-pool-size", "--localstorage-file",
		"--experimental-config-file", "--experimental-default-type", "--allow-fs-read", "--allow-fs-write",
		"--inspect-port", "--debug-port", "--inspect-publish-uid", "--security-revert",
		"--network-family-autoselection-attempt-timeout", "--experimental-specifier-resolution",
		"--es-module-specifier-resolution", "--experimental-policy", "--policy-integrity":
		return true
	}
	return false
}
