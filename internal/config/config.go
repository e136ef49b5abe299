package config

import "github.com/muster-run/muster/spec"

// Options say what to load, and from where.
type Options struct {
	// Path of the file; "" searches: MUSTER_CONFIG of Environ, then muster.yaml
	// or muster.yml in Dir and up to the repository's root, then
	// $XDG_CONFIG_HOME/muster/muster.yaml, then /etc/muster/muster.yaml.
	Path string
	// Dir is where the search starts and what a relative Path is relative to;
	// "" is the current directory.
	Dir string
	// Environ ("K=V") is what ${VAR} in the file refers to, and (filtered by
	// BaseEnviron) what becomes Spec.Environ.
	Environ []string
	// DotEnv also reads .env beside the file, under Environ.
	DotEnv bool
}

// Loaded is a configuration and where it came from.
type Loaded struct {
	Spec spec.Spec
	// Origins says for each path of the configuration ("apps.web.stop.timeout")
	// where its value comes from: "muster.yaml:12:5", "default",
	// "environment", ".env" or "flag".
	Origins map[string]string
	// File is the absolute path of the file, "" for FromRun.
	File string
}

// Problem is one mistake and its place.
type Problem struct {
	spec.Problem
	// File as it is printed; Line and Column from 1, 0 when there is no place.
	File         string
	Line, Column int
}

// Load reads, checks and completes a configuration. The error is a *fault.Fault
// with code fault.Config; its Output has one line per problem.
func Load(o Options) (*Loaded, error) { return &Loaded{}, nil }

// Problems lists the mistakes behind an error of Load or FromRun.
func Problems(err error) []Problem { return nil }

// RunFlags are the flags of `muster run`, as written; "" is not given.
type RunFlags struct {
	// N is the number of workers: a number or "auto".
	N string
	// Listen has one ADDR[=name] each.
	Listen []string
	// Health is a URL, tcp:ADDR or cmd:COMMAND.
	Health string
	// Env has one K=V each; K alone takes the value from environ.
	Env []string
	// Restart is a policy; default on-failure.
	Restart string
	// Name of the app; default: the last path element of the command.
	Name string
	// Command is the argument vector.
	Command []string
	// Dir is the working directory; "" is the current one.
	Dir string
	// Ready is a short form of ready: notify, listening, probe, port,
	// alive:1s, output:REGEX.
	Ready string
	// StopSignal and StopTimeout: "QUIT", "10s".
	StopSignal, StopTimeout string
}

// FromRun makes the configuration of `muster run`: one app and no file.
func FromRun(f RunFlags, environ []string) (*Loaded, error) { return &Loaded{}, nil }

// BaseEnviron drops what belongs to a terminal session or to muster itself, and
// sorts the rest by name.
func BaseEnviron(environ []string) []string { return environ }

// Show is the effective configuration as YAML, secrets masked; withOrigin adds
// where each value comes from.
func Show(l *Loaded, withOrigin bool) string { return "" }

// Schema is the JSON schema (draft 2020-12) of muster.yaml.
func Schema() []byte { return nil }

// Reference is the reference of muster.yaml, in Markdown.
func Reference() string { return "" }
