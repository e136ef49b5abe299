package launch

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/muster-run/muster/internal/launch/shell"
	"github.com/muster-run/muster/spec"
)

// resolve looks through a command line for the node that serves. Launchers that
// are Node.js programs themselves (npm, npx, tsx …) are replaced by what they would
// run, where that can be seen.
func resolve(app spec.App) serving {
	s := serving{node: -1, script: -1}
	if app.Node.Cluster == spec.NodeOff || app.Type == spec.Task && app.Node.Cluster != spec.NodeOn {
		return s
	}
	simple := true
	if app.Shell && len(app.Command) > 0 {
		s.words, simple = shell.Words(strings.Trim(app.Command[0], " \t\n"))
	} else {
		s.words = shell.Plain(app.Command)
	}
	if !simple {
		s.stop(severalCommands(app.Command[0]))
		return s
	}
	r := resolver{serving: &s, dir: app.Dir, path: pathOf(app)}
	for depth := 0; r.layer(); depth++ {
		if depth == maxLayers {
			s.stop(&obstacle{what: shell.Join(shell.Plain(app.Command)), fix: ownCommand, eats: true})
			break
		}
	}
	if s.obstacle != nil || !s.isNode {
		// Then the command is run as it was written.
		return serving{node: -1, script: -1, obstacle: s.obstacle}
	}
	s.liftVariables()
	return s
}

// pathOf is the PATH of the app's workers.
func pathOf(app spec.App) string {
	if path, ok := app.Env["PATH"]; ok {
		return path
	}
	return os.Getenv("PATH")
}

// resolver takes launchers away, one layer at a time.
type resolver struct {
	*serving
	dir, path string
	// front is how many words stand in front and stay: env, nice, tini …
	front int
}

func (s *serving) stop(o *obstacle) { s.obstacle = o }

// layer looks at the program in front; false when it was the last.
func (r *resolver) layer() bool {
	r.skipFront()
	if r.obstacle != nil || r.front >= len(r.words) {
		return false
	}
	first := r.words[r.front]
	name := nodeName(first.Text)
	switch {
	case name == "node":
		return r.atNode()
	case name == "cross-env" || name == "corepack":
		return r.aside(name)
	case isPackageTool(name):
		return r.packageTool(name)
	case name == "tsx" || name == "ts-node":
		return r.typeScript(name)
	case launchers()[name] != "":
		r.stop(&obstacle{what: name, fix: launchers()[name], eats: true})
		return false
	case isShell(nameOf(first.Text)):
		return r.atShell()
	}
	return r.atFile()
}

// nodeName is the name that a program of the Node.js world goes by.
func nodeName(path string) string {
	name := nameOf(path)
	switch name {
	case "yarnpkg":
		return "yarn"
	case "ts-node-transpile-only", "ts-node-cwd", "ts-node-script", "ts-node-esm":
		return "ts-node"
	case "cross-env-shell":
		return "cross-env"
	}
	return name
}

// skipFront goes over assignments, and over programs that run the rest of their
// command line and pass on environment and descriptors.
func (r *resolver) skipFront() {
	for r.front < len(r.words) {
		rest := shell.Texts(r.words, r.front)
		switch program := nameOf(rest[0]); {
		case becomes(program), waitsFor(program):
			behind := behindOptions(program, rest[1:])
			if program == "env" && emptiesEnvironment(rest[1:len(rest)-len(behind)]) {
				r.stop(&obstacle{what: "env -i", fix: "remove -i: it takes NODE_CHANNEL_FD away", quiet: true})
				return
			}
			r.front = len(r.words) - len(behind)
		case program == "sudo":
			if slices.ContainsFunc(rest, isNodeProgram) {
				r.stop(&obstacle{what: "sudo", fix: "write `user:` instead: sudo closes the worker's channel"})
			}
			r.front = len(r.words)
		case shell.Assigns(rest[0]):
			r.front++
		default:
			return
		}
	}
}

func emptiesEnvironment(options []string) bool {
	return slices.ContainsFunc(options, func(o string) bool { return o == "-" || o == "-i" || o == "--ignore-environment" })
}

// atNode ends the search at node itself, but for `node --run`.
func (r *resolver) atNode() bool {
	for i := r.front + 1; i < len(r.words); i++ {
		name, value, has := strings.Cut(r.words[i].Text, "=")
		if name == "--run" && has {
			return r.runScript(scriptCall{tool: "node --run", name: value, args: r.words[i+1:], bare: true})
		}
		if name == "--run" && i+1 < len(r.words) {
			return r.runScript(scriptCall{tool: "node --run", name: r.words[i+1].Text, args: r.words[i+2:], bare: true})
		}
		if !strings.HasPrefix(name, "-") {
			break
		}
	}
	script, stop := nodeScript(r.words, r.front)
	if stop == nil {
		stop = eatingScript(r.words[script].Text)
	}
	if stop != nil {
		r.stop(stop)
		return false
	}
	r.isNode, r.node, r.script = true, r.front, script
	return false
}

// atShell looks into `sh -c TEXT` and into a shell's script.
func (r *resolver) atShell() bool {
	argv := shell.Texts(r.words, r.front)
	if len(argv) == 3 && argv[1] == "-c" {
		words, simple := shell.Words(strings.Trim(argv[2], " \t\n"))
		if !simple {
			r.stop(severalCommands(argv[2]))
			return false
		}
		r.swap(words)
		return true
	}
	if len(argv) > 1 && !strings.HasPrefix(argv[1], "-") {
		return r.shellScript(inDir(argv[1], r.dir), 2)
	}
	if len(argv) > 2 && runsText(argv[1]) {
		r.stop(severalCommands(argv[2]))
	}
	return false
}

// severalCommands is the obstacle of a text that only a shell understands, when
// there is something of Node.js in it.
func severalCommands(text string) *obstacle {
	if !mentionsNode(text) {
		return nil
	}
	return &obstacle{
		what: "a shell that runs several commands", fix: "write the node command alone (what goes before it belongs under build:)", eats: true,
	}
}

// mentionsNode finds a command of the Node.js world in a shell's text.
func mentionsNode(text string) bool {
	for _, part := range strings.FieldsFunc(text, func(c rune) bool { return strings.ContainsRune(";&|()`{}\n", c) }) {
		for _, w := range strings.Fields(part) {
			w = strings.Trim(w, `"'!`)
			if isNodeProgram(w) {
				return true
			}
			if w != "" && !strings.HasPrefix(w, "-") && !shell.Assigns(w) && !runsOthers(nodeName(w)) {
				break // the command of this part
			}
		}
	}
	return false
}

// isNodeProgram says whether a word is node or a launcher.
func isNodeProgram(word string) bool {
	name := nodeName(word)
	return name == "node" || isPackageTool(name) || name == "tsx" || name == "ts-node" || launchers()[name] != ""
}

// runsOthers: a command follows, behind a program or a keyword of the shell.
func runsOthers(name string) bool {
	switch name {
	case "then", "do", "else", "if", "elif", "while", "until", "time", "command", "sudo", "cross-env", "corepack":
		return true
	}
	return becomes(name) || waitsFor(name)
}

// atFile looks at a program that is a file: one of node by its #! line, or a
// shell's script that ends in node.
func (r *resolver) atFile() bool {
	path, ok := r.find(r.words[r.front].Text)
	if !ok {
		return false
	}
	words := shebang(path)
	if len(words) > 0 && nameOf(words[0]) == "env" {
		words = behindOptions("env", words[1:])
	}
	switch {
	case len(words) == 0:
	case nameOf(words[0]) == "node":
		r.isNode = true
		real, err := filepath.EvalSymlinks(path)
		if err == nil && r.touched && !strings.Contains(r.words[r.front].Text, "/") {
			r.touch(append(shell.Plain(append(slices.Clone(words), r.short(real))), r.words[r.front+1:]...))
			return r.atNode()
		}
	case isShell(nameOf(words[0])):
		if filepath.Base(filepath.Dir(path)) == ".bin" { // pnpm's, which ends in `exec node`
			r.isNode = true
			return false
		}
		return r.shellScript(path, 1)
	}
	return false
}

// short is a path as seen from the app's directory, where it lies inside.
func (r *resolver) short(path string) string {
	dir, err := filepath.EvalSymlinks(r.dir)
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(dir, path); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return path
}

// find is the file that a program's name stands for.
func (r *resolver) find(name string) (string, bool) {
	if strings.Contains(name, "/") {
		path := inDir(name, r.dir)
		return path, isFile(path)
	}
	dirs := filepath.SplitList(r.path)
	if r.bin != "" {
		dirs = append([]string{r.bin}, dirs...)
	}
	for _, dir := range dirs {
		if path := filepath.Join(dir, name); filepath.IsAbs(dir) && isFile(path) {
			return path, true
		}
	}
	return "", false
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// swap puts words in the place of the program in front and all behind it.
// Assignments are for a shell or for env.
func (r *resolver) swap(words []shell.Word) {
	front := slices.Clone(r.words[:r.front])
	if shell.First(words) > 0 && shell.First(front) < len(front) {
		front = append(front, shell.Plain([]string{"env"})...)
	}
	r.words = append(front, words...)
}

// touch is swap for what the app's own command does not run in the same way.
func (r *resolver) touch(words []shell.Word) {
	r.swap(words)
	r.touched = true
}

// liftVariables takes the assignments in front of the command into env, so that no
// shell is needed for them. NODE_OPTIONS is taken from behind env, too: muster adds
// to it. What only a shell can tell stays.
func (s *serving) liftVariables() {
	first := shell.First(s.words)
	var stay []shell.Word
	for i, w := range s.words {
		name, value, ok := strings.Cut(w.Text, "=")
		front := i < first && s.touched || i < s.node && name == "NODE_OPTIONS"
		if !ok || !front || w.Live || !shell.Assigns(w.Text) {
			stay = append(stay, w)
			continue
		}
		s.setEnv(map[string]string{name: value})
		s.lifted = append(s.lifted, w)
	}
	if gone := len(s.lifted); gone > 0 {
		s.words, s.touched = stay, true
		if s.node >= 0 {
			s.node, s.script = s.node-gone, s.script-gone
		}
	}
}

func (s *serving) setEnv(more map[string]string) {
	if s.env == nil {
		s.env = map[string]string{}
	}
	maps.Copy(s.env, more)
}
