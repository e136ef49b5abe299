package launch

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/muster-run/muster/internal/launch/shell"
)

// maxLayers bounds how many programs are looked through.
const maxLayers = 8

var versionSuffix = regexp.MustCompile(`[-.]?\d+(\.\d+)*$`)

// found is what is known of a command line.
type found struct {
	program string   // really run: a base name without version; "" when not known
	args    []string // its arguments
	wrapper string   // the first program that stands before it in a process of its own
}

// look finds the program that really serves. dir is where a relative path begins.
func look(argv []string, dir string) found {
	var f found
	for range maxLayers {
		if len(argv) == 0 {
			return f
		}
		f.program, f.args = nameOf(argv[0]), argv[1:]
		inner, wraps := peel(f.program, argv, dir)
		if wraps != "" && f.wrapper == "" {
			f.wrapper = wraps
		}
		if inner == nil {
			return f
		}
		argv = inner
	}
	return f
}

// nameOf is a base name without its version: php-fpm8.2 is php-fpm.
func nameOf(path string) string {
	name := filepath.Base(path)
	if short := canonical(versionSuffix.ReplaceAllString(name, "")); known(short) {
		return short
	}
	return strings.TrimSuffix(name, ".py")
}

// known says whether a name means something here, so that its version may go.
func known(name string) bool {
	switch name {
	case "python", "ruby", "perl", "php", "node", "bundle":
		return true
	}
	return knownProgram(name) || isShell(name)
}

// canonical is the one name of a program that goes by several.
func canonical(name string) string {
	switch name {
	case "unicorn_rails", "rainbows":
		return "unicorn"
	case "openresty", "nginx-debug", "angie", "freenginx":
		return "nginx"
	case "httpd":
		return "apache"
	case "pypy":
		return "python"
	case "postmaster":
		return "postgres"
	case "nodejs":
		return "node"
	}
	return name
}

// peel takes off one layer: inner is the command line behind it, nil when program
// is the last. wraps is set when the program stays as a parent of what it runs.
func peel(program string, argv []string, dir string) (inner []string, wraps string) {
	switch program {
	case "bundle":
		return behind(argv[1:], "exec"), ""
	case "python", "ruby", "perl":
		return peelInterpreter(argv[1:]), ""
	}
	switch {
	case becomes(program):
		return behindOptions(program, argv[1:]), ""
	case waitsFor(program), program == "sudo":
		return behindOptions(program, argv[1:]), program
	case isShell(program):
		return peelShell(program, argv, dir)
	}
	if inner, wraps, ok := peelRunner(program, argv[1:]); ok {
		return inner, wraps
	}
	if knownProgram(program) {
		return nil, ""
	}
	return peelShebang(argv, dir)
}

// becomes says whether a program becomes the rest of its command line.
func becomes(program string) bool {
	switch program {
	case "env", "nice", "nohup", "ionice", "stdbuf", "chrt", "taskset", "setpriv", "gosu", "su-exec", "chpst", "setsid", "exec":
		return true
	}
	return false
}

// waitsFor says whether a program starts the rest of its command line, passes on
// environment and descriptors, and waits for it.
func waitsFor(program string) bool {
	return program == "tini" || program == "dumb-init" || program == "timeout"
}

// valueOptions are the options of a program that take the next word.
func valueOptions(program string) string {
	switch program {
	case "env":
		return "-u -C"
	case "nice":
		return "-n"
	case "ionice":
		return "-c -n"
	case "stdbuf":
		return "-i -o -e"
	case "sudo":
		return "-u -g -C -D -R -T -p -h"
	case "timeout":
		return "-s -k"
	case "chpst":
		return "-u -U -b -e -/ -n -l -L -m -d -o -p -f -c -r -t"
	}
	return ""
}

// operands is how many words stand between a program's options and the command.
func operands(program string) int {
	switch program {
	case "gosu", "su-exec", "timeout", "taskset", "chrt":
		return 1
	}
	return 0
}

// behindOptions skips options, assignments and operands of a program that runs
// the rest of its command line.
func behindOptions(program string, args []string) []string {
	takesValue := strings.Fields(valueOptions(program))
	for len(args) > 0 {
		arg := args[0]
		switch {
		case arg == "--":
			return drop(args[1:], operands(program))
		case slices.Contains(takesValue, arg):
			args = drop(args, 2)
		case strings.HasPrefix(arg, "-"), shell.Assigns(arg):
			args = args[1:]
		default:
			return drop(args, operands(program))
		}
	}
	return nil
}

func drop(args []string, n int) []string {
	if len(args) <= n {
		return nil
	}
	return args[n:]
}

// behind is what follows a subcommand and its options; nil when it is another.
func behind(args []string, sub string) []string {
	if len(args) == 0 || args[0] != sub {
		return nil
	}
	return behindOptions("", args[1:])
}

// peelShell looks into a script: `sh -c "exec gunicorn app:app"`, or a file.
func peelShell(program string, argv []string, dir string) (inner []string, wraps string) {
	args := argv[1:]
	for len(args) > 0 && strings.HasPrefix(args[0], "-") && !runsText(args[0]) {
		args = args[1:]
	}
	if len(args) == 0 {
		return nil, ""
	}
	if !runsText(args[0]) {
		return peelScript(args[0], dir)
	}
	if len(args) < 2 {
		return nil, ""
	}
	words, simple := shell.Words(strings.Trim(args[1], " \t\n"))
	i := shell.First(words)
	switch {
	case !simple || i >= len(words):
		return nil, program + " -c"
	case words[i].Text == "exec", program == "bash", program == "zsh":
		// bash replaces itself by a simple command also without exec.
		return shell.Texts(words, i), ""
	}
	return shell.Texts(words, i), program + " -c" // dash does not
}

// runsText says whether a shell's option is -c, perhaps among others (-lc, -ec).
func runsText(option string) bool {
	return strings.HasPrefix(option, "-") && !strings.HasPrefix(option, "--") && strings.HasSuffix(option, "c")
}

// peelScript looks into a shell script for the program that it ends in.
func peelScript(path, dir string) (inner []string, wraps string) {
	f, err := os.Open(inDir(path, dir))
	if err != nil {
		return nil, ""
	}
	defer f.Close()
	last := ""
	lines := bufio.NewScanner(io.LimitReader(f, 64<<10))
	for lines.Scan() {
		if line := strings.TrimSpace(lines.Text()); line != "" && !strings.HasPrefix(line, "#") {
			last = line
		}
	}
	words, simple := shell.Words(last)
	if i := shell.First(words); simple && i+1 < len(words) && words[i].Text == "exec" {
		return shell.Texts(words, i+1), ""
	}
	return nil, "the shell script " + path
}

// peelInterpreter finds the module (python -m gunicorn) or script (ruby
// /usr/bin/unicorn) that an interpreter runs. A script that is no known program is
// of no interest.
func peelInterpreter(args []string) []string {
	for len(args) > 0 {
		arg := args[0]
		switch {
		case arg == "-m" || arg == "-S":
			return drop(args, 1)
		case arg == "-c" || arg == "-e":
			return nil
		case arg == "-W" || arg == "-X" || arg == "-I" || arg == "-r" || arg == "-C":
			// Of these, python's -I takes no value; then the script is missed,
			// which costs no more than a hint.
			args = drop(args, 2)
		case strings.HasPrefix(arg, "-"):
			args = args[1:]
		case knownProgram(nameOf(arg)):
			return args
		default:
			return nil
		}
	}
	return nil
}

// peelRunner knows the runners of package tools, which stay as parents.
func peelRunner(program string, args []string) (inner []string, wraps string, ok bool) {
	switch program {
	case "poetry", "pipenv", "uv", "pdm", "hatch", "rye", "conda", "micromamba":
		if inner := behind(args, "run"); inner != nil {
			return inner, program + " run", true
		}
	case "npx", "bunx":
		return behindOptions("", args), program, true
	case "pnpm", "yarn", "npm":
		return peelNode(program, args)
	case "go", "cargo", "dotnet", "deno", "bun":
		if len(args) > 0 && args[0] == "run" && program != "deno" {
			return nil, program + " run", true
		}
	case "make", "foreman", "honcho", "overmind", "hivemind", "nodemon", "pm2", "pm2-runtime", "watchexec", "entr", "air", "reflex", "mvn", "mvnw", "gradle", "gradlew", "docker", "podman":
		return nil, program, true
	}
	return nil, "", false
}

// peelNode knows `npm exec X` and `npm run NAME`, whose script cannot be seen.
func peelNode(program string, args []string) (inner []string, wraps string, ok bool) {
	for _, sub := range []string{"exec", "dlx", "x"} {
		if inner := behind(args, sub); inner != nil {
			return inner, program + " " + sub, true
		}
	}
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		return nil, program + " " + args[0], true
	}
	return nil, program, true
}

// peelShebang reads the #! line of a program: a script of a shell is looked into,
// and so is a file that names its server there (#!/usr/sbin/haproxy -f).
func peelShebang(argv []string, dir string) (inner []string, wraps string) {
	path := inDir(argv[0], dir)
	if !strings.Contains(argv[0], "/") {
		resolved, err := exec.LookPath(argv[0])
		if err != nil {
			return nil, ""
		}
		path = resolved
	}
	words := shebang(path)
	if len(words) == 0 {
		return nil, ""
	}
	name := nameOf(words[0])
	if name == "env" {
		words = behindOptions("env", words[1:])
	}
	if len(words) == 0 {
		return nil, ""
	}
	switch name = nameOf(words[0]); {
	case isShell(name):
		return peelScript(path, "")
	case knownProgram(name):
		return words, ""
	}
	return nil, ""
}

func isShell(name string) bool {
	switch name {
	case "sh", "bash", "dash", "zsh", "ash":
		return true
	}
	return false
}

// shebang is the interpreter and its arguments; nil for a file that has none.
func shebang(path string) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	head := make([]byte, 256) // as much as the kernel reads
	n, _ := io.ReadFull(f, head)
	line, _, _ := strings.Cut(string(head[:n]), "\n")
	rest, ok := strings.CutPrefix(line, "#!")
	if !ok {
		return nil
	}
	return strings.Fields(rest)
}

func inDir(path, dir string) string {
	if filepath.IsAbs(path) || dir == "" {
		return path
	}
	return filepath.Join(dir, path)
}
