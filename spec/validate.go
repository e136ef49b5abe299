package spec

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"
)

// MinInterval is the shortest delay or interval of anything that repeats.
const MinInterval = time.Millisecond

var (
	appName     = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`)
	projectName = regexp.MustCompile(`^[a-z0-9._-]+$`)
	socketName  = regexp.MustCompile(`^[a-z0-9_-]+$`)
	fdName      = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)
	tagName     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]*$`)
	accountName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@-]*\$?$`)
)

// Problem is one broken rule of a Spec, in words for its author.
type Problem struct {
	// Path is where: "apps.web.listen[0].address", with the keys of muster.yaml.
	Path string `json:"path"`
	// Text says what is wrong, Fix what to do; Fix may be "".
	Text string `json:"text"`
	Fix  string `json:"fix,omitempty"`
}

// String is "PATH: TEXT; FIX".
func (p Problem) String() string {
	s := p.Text
	if p.Path != "" {
		s = p.Path + ": " + s
	}
	if p.Fix != "" {
		s += "; " + p.Fix
	}
	return s
}

// check collects problems; at is the path of what is looked at.
type check struct {
	at       string
	problems *[]Problem
}

func (c check) add(field, fix, format string, args ...any) {
	path := c.at
	if path != "" && field != "" && field[0] != '[' {
		path += "."
	}
	*c.problems = append(*c.problems, Problem{Path: path + field, Text: fmt.Sprintf(format, args...), Fix: fix})
}

// in is a check of something inside.
func (c check) in(field string) check {
	if c.at != "" && field[0] != '[' {
		field = "." + field
	}
	return check{at: c.at + field, problems: c.problems}
}

// err adds an error of one of the parsers.
func (c check) err(field string, err error) {
	var bad *Invalid
	switch {
	case errors.As(err, &bad):
		c.add(field, bad.Fix, "%s", bad.Text)
	case err != nil:
		c.add(field, "", "%s", err)
	}
}

// Validate returns every broken rule, sorted by path; nil when the spec is
// sound. It looks at the spec only, never at the system.
func (s Spec) Validate() []Problem {
	var problems []Problem
	c := check{problems: &problems}
	s.checkSelf(c)
	names := map[string]bool{}
	for i, a := range s.Apps {
		ac := c.in("apps." + a.Name)
		if a.Name == "" {
			ac = c.in(fmt.Sprintf("apps[%d]", i))
		}
		switch {
		case names[a.Name]:
			ac.add("", "rename one of them", "the name stands twice")
		case i > 0 && a.Name != "" && a.Name < s.Apps[i-1].Name:
			ac.add("", "sort the apps by name", "stands after %q", s.Apps[i-1].Name)
		}
		names[a.Name] = true
		a.check(ac)
	}
	s.checkDependencies(c)
	s.checkSockets(c)
	s.checkShared(c)
	sort.SliceStable(problems, func(i, j int) bool { return problems[i].Path < problems[j].Path })
	return slices.Compact(problems)
}

func (s Spec) checkSelf(c check) {
	if !projectName.MatchString(s.Project) || len(s.Project) > 64 || strings.Trim(s.Project, ".") == "" {
		c.add("name", "use 1 to 64 of a-z 0-9 . _ -", "%q cannot be the name of a project", s.Project)
	}
	if s.File != "" && !filepath.IsAbs(s.File) {
		c.add("file", "", "%q is not absolute", s.File)
	}
	for _, kv := range s.Environ {
		if i := strings.IndexByte(kv, '='); i < 1 || strings.ContainsRune(kv, 0) {
			c.add("environ", "", "%q is not of the form NAME=value", kv)
		}
	}
	switch s.Control.Mode {
	case 0o600:
	case 0o660:
		if s.Control.Group == "" {
			c.add("control.mode", "add control.group, or write 0600", "0660 opens the socket to a group, but none is named")
		}
	default:
		c.add("control.mode", "write 0600, or 0660 with control.group", "%s is not possible for the control socket", s.Control.Mode)
	}
	c.in("control").account("group", s.Control.Group)
	if s.Control.Listen != "" {
		c.err("control.listen", checkControlListen(s.Control.Listen))
	}
	s.checkNotifiers(c)
	for i, argv := range s.OnExit {
		c.argv(fmt.Sprintf("on_exit[%d]", i), argv)
	}
}

// checkShared looks at what only one app can have.
func (s Spec) checkShared(c check) {
	stdin, files := "", map[string]string{}
	for _, a := range s.Apps {
		ac := c.in("apps." + a.Name)
		if a.Stdin == "inherit" {
			if stdin != "" {
				ac.add("stdin", "keep it for one of them", "the app %s inherits stdin already", stdin)
			}
			stdin = a.Name
		}
		if a.Log.File == "" || a.Log.Target != LogFile {
			continue
		}
		if other := files[filepath.Clean(a.Log.File)]; other != "" {
			ac.add("log.file", "give each app a file of its own", "the app %s writes to %s already", other, a.Log.File)
		}
		files[filepath.Clean(a.Log.File)] = a.Name
	}
}

func (c check) argv(field string, argv []string) {
	if len(argv) == 0 || argv[0] == "" {
		c.add(field, `write the program to run, like ["./server", "--port", "8000"]`, "the command is empty")
	}
	for _, arg := range argv {
		if strings.ContainsRune(arg, 0) {
			c.add(field, "", "an argument holds a NUL byte")
		}
	}
}

func (c check) account(field, name string) {
	if name != "" && !accountName.MatchString(name) {
		c.add(field, "write a name or a number", "%q cannot be the name of an account", name)
	}
}

// oneOf checks an enumeration.
func (c check) oneOf(field, value string, known ...string) {
	if slices.Contains(known, value) {
		return
	}
	fix := didYouMean(value, known)
	if fix == "" {
		fix = "write " + strings.Join(known[:len(known)-1], ", ") + " or " + known[len(known)-1]
	}
	c.add(field, fix, "%q is not possible", value)
}

func (c check) within(field string, value, lo, hi int) {
	if value < lo || value > hi {
		c.add(field, fmt.Sprintf("use %d to %d", lo, hi), "%d is out of range", value)
	}
}

// repeats refuses what would make a hot loop.
func (c check) repeats(field string, d Duration, example string) {
	if d.D() < MinInterval {
		c.add(field, "write at least "+MinInterval.String()+", such as "+example, "%s would be a hot loop", d)
	}
}

func (c check) positive(field string, d Duration, example string) {
	if d <= 0 {
		c.add(field, "write a time such as "+example, "%s is too short", d)
	}
}

func (c check) notNegative(field string, d Duration) {
	if d < 0 {
		c.add(field, "write 0 or more", "%s is negative", d)
	}
}

// isNumber refuses NaN and the infinities.
func isNumber(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }
