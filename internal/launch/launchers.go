package launch

import (
	"path/filepath"
	"strings"

	"github.com/muster-run/muster/internal/launch/shell"
)

// launchers are Node.js programs that start the server in a process of its own (or
// do not serve at all): they would take the worker's channel for theirs. The value
// says what to write instead.
func launchers() map[string]string {
	const watch, several = "write `node SCRIPT`, and use `muster reload`", "give each command an app of its own"
	const files = "build, and serve the files with a web server"
	table := map[string]string{
		"dotenv": "write env_file: and the command itself", "env-cmd": "write env_file: and the command itself",
		"dotenvx":     "write env_file: and the command itself",
		"next":        "write `node .next/standalone/server.js` (output: standalone), or `node node_modules/next/dist/bin/next start`",
		"nest":        "write `node dist/main.js`",
		"nuxt":        "write `node .output/server/index.mjs`",
		"nuxi":        "write `node .output/server/index.mjs`",
		"remix-serve": "write `node node_modules/@remix-run/serve/dist/cli.js build/server/index.js`",
		"wait-on":     "write depends_on: instead",
		"pnpx":        "install the package, and write `npx NAME`",
	}
	for fix, names := range map[string]string{
		watch:      "nodemon ts-node-dev tsnd node-dev tsc-watch forever pm2 pm2-runtime pm2-dev babel-node vite-node",
		several:    "concurrently npm-run-all npm-run-all2 run-s run-p lerna nx turbo rush",
		ownCommand: "strapi firebase serverless webpack parcel start-server-and-test",
		files:      "react-scripts vue-cli-service vite ng gatsby ember",
	} {
		for name := range strings.FieldsSeq(names) {
			table[name] = fix
		}
	}
	return table
}

func isPackageTool(name string) bool {
	switch name {
	case "npm", "npx", "pnpm", "yarn":
		return true
	}
	return false
}

// eatingScript is the obstacle of a launcher that node is told to run by its path.
func eatingScript(script string) *obstacle {
	name := strings.TrimSuffix(filepath.Base(script), filepath.Ext(script))
	switch filepath.Base(script) {
	case "npm-cli.js", "npx-cli.js", "pnpm.cjs", "yarn.js", "yarn.cjs", "corepack.js":
		name = strings.TrimSuffix(name, "-cli")
	default:
		_, rest, ok := cutLast(filepath.ToSlash(script), "node_modules/")
		if !ok {
			return nil
		}
		name, _, _ = strings.Cut(strings.TrimPrefix(rest, ".bin/"), "/")
		if name == "next" || name == "nuxt" { // their own servers, named on purpose
			return nil
		}
	}
	if !isPackageTool(name) && name != "tsx" && name != "corepack" && launchers()[name] == "" {
		return nil
	}
	return &obstacle{what: name, fix: ownCommand, eats: true}
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// aside takes away a launcher that only sets variables (cross-env) or picks a
// version (corepack).
func (r *resolver) aside(name string) bool {
	rest := r.words[r.front+1:]
	if len(rest) == 0 || strings.HasPrefix(rest[0].Text, "-") {
		r.stop(&obstacle{what: name, fix: ownCommand, eats: true})
		return false
	}
	r.touch(rest)
	return true
}

// typeScript makes `node --import tsx` of tsx, and `node -r ts-node/register` of
// ts-node: both start node again, or are the same as that.
func (r *resolver) typeScript(name string) bool {
	rest := r.words[r.front+1:]
	with := []string{"node", "--import", "tsx"}
	if name == "ts-node" {
		with = []string{"node", "-r", "ts-node/register"}
		if len(rest) > 0 && (rest[0].Text == "-T" || rest[0].Text == "--transpile-only") {
			with[2], rest = "ts-node/register/transpile-only", rest[1:]
		}
	}
	plain := len(rest) > 0 && !strings.HasPrefix(rest[0].Text, "-") && rest[0].Text != "watch"
	local := isFile(filepath.Join(r.dir, "node_modules", name, "package.json"))
	if !plain || !local || strings.HasPrefix(nameOf(r.words[r.front].Text), "ts-node-esm") {
		r.stop(&obstacle{what: name, fix: "write `" + strings.Join(with, " ") + " SCRIPT` (" + name + " installed in dir:)", eats: true})
		return false
	}
	r.touch(append(shell.Plain(with), rest...))
	return true
}
