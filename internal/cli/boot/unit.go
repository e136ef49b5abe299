package boot

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/muster-run/muster/spec"
)

// stopMargin is what systemd waits beyond the time that the apps may take.
const stopMargin = 15 * time.Second

// unit is what a unit file says.
type unit struct {
	name    string // shop for shop.service
	project string
	program string // absolute path of muster
	file    string // the configuration; "" for a project of `muster run`
	dir     string
	user    bool // of the user's own systemd
	environ []string
	stop    time.Duration
}

// The first lines of a unit of ours.
const (
	author   = "# Written by `muster startup systemd`, which also renews and removes it.\n"
	advice   = "# Your own settings belong into `systemctl%s edit %s`; they stay.\n"
	sumTitle = "# muster: sha256 "
)

// text is the whole file.
func (u unit) text() string {
	body := u.body()
	flag := ""
	if u.user {
		flag = " --user"
	}
	return author + fmt.Sprintf(advice, flag, u.name+".service") + sumTitle + checksum(body) + "\n" + body
}

func checksum(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

// authorship says whose a unit file is: ours, as we wrote it, or changed since.
func authorship(text string) (ours, unchanged bool) {
	if !strings.HasPrefix(text, author) {
		return false, false
	}
	_, rest, _ := strings.Cut(text, sumTitle)
	sum, body, _ := strings.Cut(rest, "\n")
	return true, sum == checksum(body)
}

func (u unit) body() string {
	var b strings.Builder
	section := func(name string, lines ...string) {
		fmt.Fprintf(&b, "\n[%s]\n", name)
		for _, line := range lines {
			if line != "" {
				b.WriteString(line + "\n")
			}
		}
	}
	target := "multi-user.target"
	if u.user {
		target = "default.target"
	}
	section("Unit", u.order()...)
	section("Service", append(u.identity(), u.life()...)...)
	section("Install", "WantedBy="+target)
	return b.String()
}

func (u unit) order() []string {
	what := u.file
	if what == "" {
		what = u.dir
	}
	lines := []string{"Description=" + specifiers("muster "+u.project+" ("+what+")")}
	if !u.user { // the user's systemd does not know the network
		lines = append(lines, "Wants=network-online.target", "After=network-online.target")
	}
	return append(lines, "StartLimitIntervalSec=0")
}

// identity is as whom, where and with which environment. User=root makes systemd
// set HOME and its like, which programs expect.
func (u unit) identity() []string {
	var lines []string
	if !u.user {
		lines = append(lines, "User=root")
	}
	lines = append(lines, "WorkingDirectory="+specifiers(u.dir))
	for _, kv := range u.environ {
		lines = append(lines, "Environment="+quoted(kv, false))
	}
	return lines
}

// life is how systemd and muster share the work. muster itself bounds how long an
// app may take to come up; a worker that the kernel kills for want of memory is
// muster's to start again.
func (u unit) life() []string {
	lines := []string{"Type=notify", "NotifyAccess=main", "ExecStart=" + u.command("up", "--resume")}
	if u.file != "" {
		lines = append(lines, "ExecReload="+u.command("up", "--no-input"))
	}
	return append(lines,
		"TimeoutStartSec=infinity",
		fmt.Sprintf("TimeoutStopSec=%d", int((u.stop+stopMargin+time.Second-1)/time.Second)),
		"KillMode=mixed",
		"Restart=on-failure",
		"RestartSec=5",
		"RestartPreventExitStatus=2",
		"OOMPolicy=continue",
		"Delegate=yes",
		"LimitNOFILE=65536:524288",
		"TasksMax=infinity",
	)
}

func (u unit) command(verb ...string) string {
	words := append([]string{u.program}, verb...)
	if u.file != "" {
		words = append(words, "-c", u.file)
	} else {
		words = append(words, "--project", u.project)
	}
	for i, w := range words {
		words[i] = quoted(w, true)
	}
	return strings.Join(words, " ")
}

// quoted is one word of a command line, or of Environment=, as systemd reads it.
func quoted(word string, command bool) string {
	word = specifiers(word)
	if command {
		word = strings.ReplaceAll(word, "$", "$$")
	}
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:=@,+%$", r)
	}
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool { return !plain(r) }) {
		return word
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
}

// specifiers keeps systemd from reading %n and its like.
func specifiers(text string) string { return strings.ReplaceAll(text, "%", "%%") }

// stopTime is how long the apps may take to stop: dependents stop before what they
// depend on, so the longest chain counts, and then the hooks.
func stopTime(s spec.Spec) time.Duration {
	apps := map[string]spec.App{}
	for _, app := range s.Apps {
		apps[app.Name] = app
	}
	longest := time.Duration(0)
	for _, app := range s.Apps {
		longest = max(longest, chain(apps, app, nil))
	}
	return longest + time.Duration(len(s.OnExit))*spec.OnExitTimeout
}

func chain(apps map[string]spec.App, app spec.App, seen []string) time.Duration {
	if slices.Contains(seen, app.Name) { // no spec that is valid has a circle
		return 0
	}
	below := time.Duration(0)
	for _, d := range app.DependsOn {
		if dep, known := apps[d.App]; known {
			below = max(below, chain(apps, dep, append(slices.Clone(seen), app.Name)))
		}
	}
	return below + time.Duration(app.Stop.Timeout)
}

// difference shows what leads from one text to another: lines that go and lines
// that come, each in its order.
func difference(old, next string) []string {
	a, b := strings.Split(strings.TrimSuffix(old, "\n"), "\n"), strings.Split(strings.TrimSuffix(next, "\n"), "\n")
	if old == "" {
		a = nil
	}
	var lines []string
	for _, line := range a {
		if !slices.Contains(b, line) {
			lines = append(lines, "- "+line)
		}
	}
	for _, line := range b {
		if !slices.Contains(a, line) {
			lines = append(lines, "+ "+line)
		}
	}
	return slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l[2:], "#") || l == "+ " || l == "- " })
}
