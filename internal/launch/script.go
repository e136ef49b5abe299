package launch

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/muster-run/muster/internal/launch/shell"
)

// maxPackage bounds package.json, in bytes.
const maxPackage = 1 << 20

// scriptCall is a script of package.json that a tool is asked for.
type scriptCall struct {
	tool, name string
	// args go behind the script.
	args []shell.Word
	// bare: neither pre and post scripts, nor variables beside PATH.
	bare bool
	// orBin: what is no script may be a program of node_modules/.bin.
	orBin bool
}

// packageTool replaces npm, npx, pnpm or yarn by what it would run.
func (r *resolver) packageTool(tool string) bool {
	call, stop := r.callOf(tool)
	switch {
	case stop != nil:
		r.stop(stop)
		return false
	case call.name != "":
		return r.runScript(call)
	}
	r.bin = filepath.Join(r.dir, "node_modules", ".bin")
	name := call.args[0].Text
	if !strings.Contains(name, "/") && nodeName(name) != "node" && !isFile(filepath.Join(r.bin, name)) {
		r.stop(&obstacle{what: tool + " " + name, fix: "install " + name + " in dir:, or " + ownCommand, eats: true})
		return false
	}
	r.touch(call.args)
	return true
}

// callOf understands the command line of a package tool: a script, or a program
// (call.name is "") with its arguments.
func (r *resolver) callOf(tool string) (scriptCall, *obstacle) {
	rest := afterFlags(r.words[r.front+1:])
	unclear := &obstacle{what: tool, fix: ownCommand, eats: true}
	if len(rest) == 0 || strings.HasPrefix(rest[0].Text, "-") || rest[0].Live {
		return scriptCall{}, unclear
	}
	verb, behind := rest[0].Text, rest[1:]
	unclear.what += " " + verb
	call := scriptCall{tool: tool + " " + verb, name: verb, args: behind, orBin: tool != "npm"}
	program := scriptCall{args: afterDashes(afterFlags(behind))}
	switch {
	case tool == "npx":
		return scriptCall{args: rest}, nil
	case verb == "exec" || verb == "x" && tool == "npm":
		if len(program.args) == 0 || strings.HasPrefix(program.args[0].Text, "-") {
			return call, unclear
		}
		return program, nil
	case verb == "node" && tool != "npm":
		return scriptCall{args: rest}, nil
	case verb == "run" || verb == "run-script":
		if behind = afterFlags(behind); len(behind) == 0 || strings.HasPrefix(behind[0].Text, "-") || behind[0].Live {
			return call, unclear
		}
		call.name, call.args, call.orBin = behind[0].Text, behind[1:], tool == "yarn"
		call.tool += " " + call.name
	case tool == "npm" && verb != "start" && verb != "test" && verb != "stop" && verb != "restart":
		return call, unclear
	case verb == "dlx" || verb == "workspace" || verb == "workspaces" || verb == "install" || verb == "add":
		return call, unclear
	}
	if tool == "npm" {
		return call.behindDashes()
	}
	return call, nil
}

// behindDashes: npm keeps options for itself unless they stand behind --.
func (c scriptCall) behindDashes() (scriptCall, *obstacle) {
	var args []shell.Word
	for i, w := range c.args {
		if w.Text == "--" {
			c.args = append(args, c.args[i+1:]...)
			return c, nil
		}
		if !strings.HasPrefix(w.Text, "-") {
			args = append(args, w)
		} else if !quietFlag(w.Text) {
			return c, &obstacle{what: c.tool + " " + w.Text, fix: ownCommand, eats: true}
		}
	}
	c.args = args
	return c, nil
}

func afterDashes(words []shell.Word) []shell.Word {
	if len(words) > 0 && words[0].Text == "--" {
		return words[1:]
	}
	return words
}

// afterFlags skips options that do not change what is run.
func afterFlags(words []shell.Word) []shell.Word {
	for len(words) > 0 && quietFlag(words[0].Text) {
		words = words[1:]
	}
	return words
}

func quietFlag(text string) bool {
	switch text {
	case "-s", "--silent", "-q", "--quiet", "-d", "-y", "--yes", "--no", "--no-install", "--if-present",
		"--no-update-notifier", "--no-fund", "--no-audit", "--production", "--offline", "--prefer-offline", "--color", "--no-color":
		return true
	}
	return strings.HasPrefix(text, "--loglevel=") || strings.HasPrefix(text, "--omit=")
}

// manifest is what is read of package.json.
type manifest struct {
	Name    string            `json:"name"`
	Version string            `json:"version"`
	Scripts map[string]string `json:"scripts"`
	Config  map[string]any    `json:"config"`
}

func readManifest(dir string) (m manifest, ok bool) {
	f, err := os.Open(filepath.Join(dir, "package.json"))
	if err != nil {
		return m, false
	}
	defer f.Close()
	err = json.NewDecoder(io.LimitReader(f, maxPackage)).Decode(&m)
	return m, err == nil
}

// runScript replaces a tool by the script of package.json that it was asked for.
func (r *resolver) runScript(call scriptCall) bool {
	m, ok := readManifest(r.dir)
	text, known := m.Scripts[call.name]
	switch {
	case !ok:
		// Without a package.json here the tool looks further up, or fails by itself.
		r.stop(&obstacle{what: call.tool, eats: true, quiet: true})
		return false
	case !known && call.orBin && isFile(filepath.Join(r.dir, "node_modules", ".bin", call.name)):
		r.bin = filepath.Join(r.dir, "node_modules", ".bin")
		r.touch(append(shell.Plain([]string{call.name}), call.args...))
		return true
	case !known && call.name == "start" && isFile(filepath.Join(r.dir, "server.js")):
		text = "node server.js"
	case !known:
		r.stop(&obstacle{what: call.tool, fix: "package.json has no script " + call.name + ": correct the name", eats: true})
		return false
	}
	words, simple := shell.Words(strings.Trim(text, " \t\n"))
	if !simple || len(words) == 0 {
		r.stop(&obstacle{
			what: fmt.Sprintf("%s (%s)", call.tool, shorten(text)), eats: true,
			fix: "write the node command of that script alone (what goes before it belongs under build:)",
		})
		return false
	}
	words = append(words, call.args...)
	if stop := r.around(call, m, words); stop != nil {
		r.stop(stop)
		return false
	}
	r.bin = filepath.Join(r.dir, "node_modules", ".bin")
	if !call.bare {
		r.setEnv(m.env(r.dir, call.name, text))
	}
	r.touch(words)
	return true
}

// around looks for what a tool does besides running the script.
func (r *resolver) around(call scriptCall, m manifest, words []shell.Word) *obstacle {
	if call.bare {
		return nil
	}
	for _, other := range []string{"pre" + call.name, "post" + call.name} {
		if _, ok := m.Scripts[other]; ok {
			return &obstacle{
				what: call.tool + ", which runs " + other + " too,", eats: true,
				fix: fmt.Sprintf("write `command: %s` (and %s under build:, if it is needed)", shell.Join(words), other),
			}
		}
	}
	for _, name := range []string{".pnp.cjs", ".pnp.js"} {
		if strings.HasPrefix(call.tool, "yarn") && isFile(filepath.Join(r.dir, name)) {
			return &obstacle{what: call.tool + " with Plug'n'Play", fix: "write `node -r ./" + name + " SCRIPT`", eats: true}
		}
	}
	data, _ := os.ReadFile(filepath.Join(r.dir, ".npmrc"))
	if strings.Contains(string(data), "script-shell") || strings.Contains(string(data), "node-options") {
		return &obstacle{what: call.tool + " with the settings of .npmrc", fix: fmt.Sprintf("write `command: %s` and what .npmrc says", shell.Join(words)), eats: true}
	}
	return nil
}

// env is what npm tells a script.
func (m manifest) env(dir, name, text string) map[string]string {
	env := map[string]string{
		"npm_package_json": filepath.Join(dir, "package.json"), "npm_package_name": m.Name, "npm_package_version": m.Version,
		"npm_lifecycle_event": name, "npm_lifecycle_script": text, "INIT_CWD": dir,
	}
	for key, value := range m.Config {
		switch value.(type) {
		case string, bool, float64:
			env["npm_package_config_"+key] = fmt.Sprint(value)
		}
	}
	return env
}

func shorten(text string) string {
	if runes := []rune(text); len(runes) > 60 {
		return string(runes[:60]) + "…"
	}
	return text
}

// shellScript looks into a shell's script, which stands in words many words. One that
// only ends in `exec node` passes its channel on, and one that ends in `exec "$@"`
// runs what stands behind it (then it is true); one that runs Node.js before that
// would give the channel to the first.
func (r *resolver) shellScript(path string, words int) bool {
	lines := scriptLines(path)
	if len(lines) == 0 {
		return false
	}
	before, last := strings.Join(lines[:len(lines)-1], "\n"), lines[len(lines)-1]
	dirty := mentionsNode(before)
	switch {
	case last == `exec "$@"` && !dirty:
		r.front += words
		return r.front < len(r.words)
	case !dirty && endsInNode(last):
		r.isNode = true
	case dirty || mentionsNode(last):
		r.stop(&obstacle{
			what: "the shell script " + path, eats: true,
			fix: "let it end in `exec node SCRIPT` and run no other Node.js program before, or write that command",
		})
	}
	return false
}

// endsInNode says whether a line of a script becomes node.
func endsInNode(line string) bool {
	words, simple := shell.Words(line)
	i := shell.First(words)
	if !simple || i+1 >= len(words) || words[i].Text != "exec" || nodeName(words[i+1].Text) != "node" {
		return false
	}
	_, stop := nodeScript(words, i+1)
	return stop == nil
}

// scriptLines are the lines of a script that are neither empty nor a comment.
func scriptLines(path string) (lines []string) {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	data, _ := io.ReadAll(io.LimitReader(f, 64<<10))
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}
