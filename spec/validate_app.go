package spec

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// check looks at one app by itself.
func (a App) check(c check) {
	a.checkName(c)
	a.checkProcess(c)
	a.checkEnv(c)
	a.checkListeners(c)
	a.checkNode(c)
	a.checkPorts(c)
	a.checkPlaceholders(c)
	a.checkReady(c.in("ready"))
	if a.Health != nil {
		a.checkHealth(c.in("health"))
	}
	if a.Watchdog != 0 {
		c.repeats("watchdog", a.Watchdog, "30s")
	}
	a.Restart.check(c.in("restart"))
	a.Stop.check(c.in("stop"))
	a.Reload.check(c.in("reload"))
	a.Limits.check(c.in("limits"))
	a.Log.check(c.in("log"))
	for i, t := range a.Tags {
		if !tagName.MatchString(t) || len(t) > 63 {
			c.add(fmt.Sprintf("tags[%d]", i), "use at most 63 letters, digits and . _ / -", "%q cannot be a tag", t)
		}
	}
	a.checkOperations(c)
}

func (a App) checkName(c check) {
	switch {
	case a.Name == "all":
		c.add("", "choose another name", `"all" stands for every app in selectors`)
	case !appName.MatchString(a.Name) || len(a.Name) > 63:
		c.add("", "use 1 to 63 of a-z 0-9 . _ -, the first a letter or digit", "%q cannot be the name of an app", a.Name)
	}
	c.oneOf("type", string(a.Type), string(Service), string(Task))
}

func (a App) checkProcess(c check) {
	c.argv("command", a.Command)
	if a.Shell && len(a.Command) > 1 {
		c.add("command", "write it as one string", "with shell: true the command is one script, not a list of %d", len(a.Command))
	}
	if a.Build != nil {
		c.argv("build", a.Build)
	}
	if !filepath.IsAbs(a.Dir) {
		c.add("dir", "write an absolute path", "%q is not absolute", a.Dir)
	} else if strings.ContainsRune(a.Dir, 0) {
		c.add("dir", "", "a path cannot hold a NUL byte")
	}
	c.account("user", a.User)
	c.account("group", a.Group)
	if a.Umask != nil && *a.Umask > 0o777 {
		c.add("umask", "write it like 0022 or 0077", "%s is no umask", a.Umask)
	}
	c.within("workers", a.Workers, 0, MaxWorkers)
	switch a.Stdin {
	case "":
	case "inherit":
		if a.Workers > 1 {
			c.add("stdin", "write workers: 1, or remove stdin", "%d workers cannot share one stdin", a.Workers)
		}
	default:
		c.add("stdin", "write inherit, or remove it", "%q is not possible", a.Stdin)
	}
}

// ownVariables are set by muster in every worker.
func ownVariables() []string {
	return []string{
		"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
		"MUSTER_APP", "MUSTER_WORKER", "MUSTER_ROLE", "MUSTER_PROC", "MUSTER_CHANNEL_FD", "NODE_APP_INSTANCE",
		"NODE_CHANNEL_FD", "NODE_UNIQUE_ID", "MUSTER_COUNT",
	}
}

// isVariableName says whether a process can have such a variable.
func isVariableName(s string) bool { return s != "" && !strings.ContainsAny(s, "=\x00 \t\n") }

func (a App) checkEnv(c check) {
	ports := map[string]string{}
	for _, p := range a.Ports {
		ports[p.Env] = p.Name
	}
	one := func(c check, env map[string]string) {
		for _, name := range slices.Sorted(maps.Keys(env)) {
			switch {
			case !isVariableName(name):
				c.add("", "", "%q cannot be the name of a variable", name)
			case strings.ContainsRune(env[name], 0):
				c.add(name, "", "the value holds a NUL byte")
			case slices.Contains(ownVariables(), name):
				c.add(name, "remove it", "muster sets %s itself", name)
			case name == "NODE_CHANNEL_SERIALIZATION_MODE" && env[name] != "json":
				c.add(name, "remove it: the messages between muster and its workers are JSON", "the serialization %q is not understood", env[name])
			case ports[name] != "":
				c.add(name, fmt.Sprintf("remove it, or give the port another variable (ports.%s.env)", ports[name]),
					"%s is set by the port %s", name, ports[name])
			}
		}
	}
	one(c.in("env"), a.Env)
	for _, slot := range slices.Sorted(maps.Keys(a.SlotEnv)) {
		if slot < 0 || slot >= MaxWorkers {
			c.add(fmt.Sprintf("slot_env.%d", slot), fmt.Sprintf("slots are 0 to %d", MaxWorkers-1), "there is no slot %d", slot)
		}
		one(c.in(fmt.Sprintf("slot_env.%d", slot)), a.SlotEnv[slot])
	}
}

// checkPlaceholders finds {{fd:NAME}} and {{port:NAME}} that name nothing.
func (a App) checkPlaceholders(c check) {
	for i, arg := range a.Command {
		field := fmt.Sprintf("command[%d]", i)
		if a.Shell {
			field = "command"
		}
		a.checkText(c, field, arg)
	}
	for name, value := range a.Env {
		a.checkText(c, "env."+name, value)
	}
	for slot, env := range a.SlotEnv {
		for name, value := range env {
			a.checkText(c, fmt.Sprintf("slot_env.%d.%s", slot, name), value)
		}
	}
	if h := a.Health; h != nil {
		for _, text := range append([]string{h.URL, h.Address}, h.Command...) {
			a.checkText(c, "health", text)
		}
	}
}

var loosePlaceholder = regexp.MustCompile(`\{\{\s*(fd|port)\s*:([^{}]*)\}\}`)

func (a App) checkText(c check, field, text string) {
	for _, m := range loosePlaceholder.FindAllStringSubmatch(text, -1) {
		kind, name := m[1], strings.TrimSpace(m[2])
		var known []string
		if kind == "port" {
			known = a.portNames()
		} else {
			known = a.listenerNames()
		}
		exact := "{{" + kind + ":" + name + "}}"
		switch {
		case slices.Contains(known, name) && m[0] != exact:
			c.add(field, "write "+exact, "%s has spaces inside", m[0])
		case slices.Contains(known, name):
		case field == "health" && kind == "fd":
			c.add(field, "use {{port:NAME}} or the address itself", "%s: a check inherits no descriptors", exact)
		default:
			c.add(field, placeholderFix(name, known, kind), "%s names nothing", exact)
		}
	}
}

func placeholderFix(name string, known []string, kind string) string {
	section := map[string]string{"fd": "listen", "port": "ports"}[kind]
	if fix := didYouMean(name, known); fix != "" {
		return fix
	}
	if len(known) == 0 {
		return "the app has no " + section + ": add one with the name " + name
	}
	return section + " has " + strings.Join(known, ", ")
}

func (a App) portNames() (names []string) {
	for _, p := range a.Ports {
		names = append(names, p.Name)
	}
	return names
}

func (a App) listenerNames() (names []string) {
	for _, l := range a.Listen {
		names = append(names, l.Name)
	}
	return names
}
