package boot

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

func shop() unit {
	return unit{
		name: "muster-shop", project: "shop", program: "/usr/bin/muster", file: "/srv/shop/muster.yaml", dir: "/srv/shop",
		environ: []string{"PATH=/usr/bin:/bin"}, stop: 30 * time.Second,
	}
}

func has(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("no line %q in\n%s", line, text)
		}
	}
}

func TestUnit(t *testing.T) {
	text := shop().text()
	has(
		t, text, "User=root", "WorkingDirectory=/srv/shop", "Environment=PATH=/usr/bin:/bin", "Type=notify", "NotifyAccess=main",
		"ExecStart=/usr/bin/muster up --resume -c /srv/shop/muster.yaml", "ExecReload=/usr/bin/muster up --no-input -c /srv/shop/muster.yaml",
		"TimeoutStopSec=45", "KillMode=mixed", "Delegate=yes", "After=network-online.target", "WantedBy=multi-user.target",
	)
	if ours, unchanged := authorship(text); !ours || !unchanged {
		t.Error("not recognised as ours")
	}
}

func TestUserUnit(t *testing.T) {
	u := shop()
	u.user = true
	text := u.text()
	has(t, text, "WantedBy=default.target", "# Your own settings belong into `systemctl --user edit muster-shop.service`; they stay.")
	for _, not := range []string{"User=", "network-online"} {
		if strings.Contains(text, not) {
			t.Errorf("%q in a unit of the user:\n%s", not, text)
		}
	}
}

// A project of `muster run` has no file to read again.
func TestUnitWithoutFile(t *testing.T) {
	u := shop()
	u.file, u.project = "", "run-sleep-84f610ec"
	has(t, u.text(), "ExecStart=/usr/bin/muster up --resume --project run-sleep-84f610ec")
	if strings.Contains(u.text(), "ExecReload") {
		t.Error("ExecReload without a file")
	}
}

// What systemd would read as something else is quoted as its manual says.
func TestQuoted(t *testing.T) {
	u := shop()
	u.file, u.dir = `/srv/50% "off" $x/muster.yaml`, `/srv/50% "off" $x`
	u.environ = []string{`PATH=/a b:/c$d`}
	has(
		t, u.text(), `WorkingDirectory=/srv/50%% "off" $x`, `Environment="PATH=/a b:/c$d"`,
		`ExecStart=/usr/bin/muster up --resume -c "/srv/50%% \"off\" $$x/muster.yaml"`,
	)
}

func TestAuthorship(t *testing.T) {
	text := shop().text()
	for name, tc := range map[string]struct {
		text            string
		ours, unchanged bool
	}{
		"as written":   {text, true, true},
		"changed":      {strings.Replace(text, "KillMode=mixed", "KillMode=process", 1), true, false},
		"a line more":  {text + "Nice=5\n", true, false},
		"no checksum":  {author + "[Service]\n", true, false},
		"of others":    {"[Service]\nExecStart=/bin/true\n", false, false},
		"nothing":      {"", false, false},
		"only a quote": {"# see " + author, false, false},
	} {
		if ours, unchanged := authorship(tc.text); ours != tc.ours || unchanged != tc.unchanged {
			t.Errorf("%s: ours %v, unchanged %v", name, ours, unchanged)
		}
	}
}

func TestStopTime(t *testing.T) {
	app := func(name string, timeout time.Duration, on ...string) spec.App {
		a := spec.DefaultApp(name)
		a.Stop.Timeout = spec.Duration(timeout)
		for _, d := range on {
			a.DependsOn = append(a.DependsOn, spec.Dependency{App: d})
		}
		return a
	}
	for name, tc := range map[string]struct {
		spec spec.Spec
		want time.Duration
	}{
		"none":         {spec.Spec{}, 0},
		"side by side": {spec.Spec{Apps: []spec.App{app("a", 10*time.Second), app("b", 20*time.Second)}}, 20 * time.Second},
		"a chain":      {spec.Spec{Apps: []spec.App{app("a", 10*time.Second), app("b", 20*time.Second, "a"), app("c", time.Second, "b", "a")}}, 31 * time.Second},
		"a hook":       {spec.Spec{Apps: []spec.App{app("a", time.Second)}, OnExit: [][]string{{"true"}}}, time.Second + spec.OnExitTimeout},
		"a circle":     {spec.Spec{Apps: []spec.App{app("a", time.Second, "b"), app("b", time.Second, "a")}}, 2 * time.Second},
	} {
		if got := stopTime(tc.spec); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

func TestDifference(t *testing.T) {
	u := shop()
	u.stop = time.Minute
	if diff := cmp.Diff([]string{"- TimeoutStopSec=45", "+ TimeoutStopSec=75"}, difference(shop().text(), u.text())); diff != "" {
		t.Error(diff)
	}
	if lines := difference("", shop().text()); !slices.Contains(lines, "+ Type=notify") || slices.Contains(lines, "+ ") {
		t.Error(lines)
	}
	if lines := difference(u.text(), u.text()); len(lines) > 0 {
		t.Error(lines)
	}
}

func TestArguments(t *testing.T) {
	for args, want := range map[string]fault.Code{
		"": fault.Usage, "runit": fault.Startup, "systemd": "", "systemd shop": "", "systemd shop.service": "",
		"systemd a/b": fault.Usage, "systemd -x": fault.Usage, "systemd a b": fault.Usage,
	} {
		if got := fault.CodeOf(initSystem(strings.Fields(args))); got != want {
			t.Errorf("%q: %q, want %q", args, got, want)
		}
	}
}
