package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"

	"github.com/muster-run/muster/internal/config/table"
	"github.com/muster-run/muster/spec"
)

// samples are good files that between them use every key.
func samples(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("testdata/good/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	all := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[file] = string(text)
	}
	return all
}

// What Show prints is a file that gives the same spec again.
func TestShowRoundTrip(t *testing.T) {
	for name, text := range samples(t) {
		l := good(t, text)
		again, err := Load(Options{Dir: write(t, map[string]string{"muster.yaml": render(l.Spec, nil)}), Environ: []string{"HOME=/home/me", "SET=yes", "NOTHING="}})
		if err != nil {
			t.Errorf("%s: %s\n%s", name, strings.Join(lines(t, err), "\n"), render(l.Spec, nil))
			continue
		}
		again.Spec.File = l.Spec.File
		if d := cmp.Diff(l.Spec, again.Spec); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if d := cmp.Diff(0, len(spec.Diff(l.Spec, again.Spec))); d != "" {
			t.Error(d)
		}
		if a, b := render(l.Spec, nil), render(again.Spec, nil); a != b {
			t.Error(cmp.Diff(a, b))
		}
	}
}

// Any text survives being shown: in variables, arguments and scripts.
func TestShowAnyText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(
			rapid.String(),
			rapid.StringOf(rapid.SampledFrom([]rune("${}\n\t\r '\"#:-~&*!|>%@`0x\x07\x1b\x7f\u0085\u2028\ufeff\U0001f600"))),
			rapid.SampledFrom([]string{"true", "null", "~", "1e3", "0600", "yes", "<<", "=", "1:2", ".nan", "2026-01-01", "", " ", "-", "---", "...", "*", "!!str x"}),
		)
		one := text.Draw(t, "value")
		if strings.ContainsRune(one, 0) {
			return
		}
		a := spec.DefaultApp("a")
		a.Command, a.Dir = []string{"x", one}, "/"
		a.Env, a.Labels = map[string]string{"V": one}, map[string]string{"l": one}
		a.SlotEnv = map[int]map[string]string{0: {"V": one}}
		if strings.TrimSpace(one) != "" && rapid.Bool().Draw(t, "shell") {
			a.Shell, a.Command = true, []string{one}
		}
		s := spec.Spec{Project: "p", Control: spec.Control{Mode: 0o600}, Apps: []spec.App{a}}
		if len(s.Validate()) > 0 {
			return // such as {{fd:x}}
		}
		again, problems := fromText(render(s, nil))
		if len(problems) > 0 || !cmp.Equal(s, again) {
			t.Fatalf("%v %s in\n%s", problems, cmp.Diff(s, again), render(s, nil))
		}
	})
}

func TestShowOrigin(t *testing.T) {
	l := good(t, `version: 1
defaults:
  stop: {timeout: 10s}
  env: {A: 1, TOKEN: "${SECRET}"}
apps:
  web:
    command: ./web --password=geheim
    env_file: web.env
    workers: ${N:-3}
    env: {H: "${HOME}"}
    restart: never
    listen: [8000]
    ready: {output: up}
    health: http://u:geheim@localhost/
    limits: {memory: 1GiB}
    ports: {p: 9000}
`, ".env", "SECRET=geheim\n", "web.env", "# x\nF=1\n")
	for path, want := range map[string]string{
		"version": "muster.yaml:1:10", "name": "default", "control.mode": "default",
		"apps.web.command": "muster.yaml:7:14", "apps.web.workers": "muster.yaml:9:14, ${N} by default",
		"apps.web.stop.timeout": "muster.yaml:3:19", "apps.web.env.A": "muster.yaml:4:12",
		"apps.web.env.TOKEN": "muster.yaml:4:22, ${SECRET} from .env", "apps.web.env.H": "muster.yaml:10:14, ${HOME} from environment",
		"apps.web.env.F": "web.env:2:1", "apps.web.restart.policy": "muster.yaml:11:14", "apps.web.restart.delay": "default",
		"apps.web.listen": "muster.yaml:12:13", "apps.web.ready.mode": "muster.yaml:13:21", "apps.web.ready.timeout": "default",
		"apps.web.health.http": "muster.yaml:14:13", "apps.web.health.interval": "default", "apps.web.limits.memory": "muster.yaml:15:22",
		"apps.web.limits.cpu": "default", "apps.web.ports.p.port": "muster.yaml:16:16", "apps.web.ports.p.env": "default",
	} {
		if got := l.Origins[path]; got != want {
			t.Errorf("%s is from %q, want %q", path, got, want)
		}
	}
	text := Show(l, true)
	for _, want := range []string{
		"timeout: 10s # muster.yaml:3:19\n", "TOKEN: '******' # muster.yaml:4:22, ${SECRET} from .env\n", "jitter: 0.2 # default\n",
		"# muster.yaml:7:14\n    command: [./web, --password=******]\n", "http: http://u:******@localhost/ # muster.yaml:14:13\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("want %s in\n%s", want, text)
		}
	}
	for _, text := range []string{text, Show(l, false)} {
		if strings.Contains(text, "geheim") {
			t.Errorf("a secret is shown:\n%s", text)
		}
	}
	if strings.Contains(Show(l, false), "#") {
		t.Error("origins that nobody asked for")
	}
}

func TestProjectFromEnvironment(t *testing.T) {
	dir := write(t, map[string]string{"muster.yaml": "version: 1\nname: file\napps: {}\n", ".env": "MUSTER_PROJECT=dot\n"})
	for _, c := range []struct {
		o            Options
		name, origin string
	}{
		{Options{Dir: dir}, "file", "muster.yaml:2:7"},
		{Options{Dir: dir, DotEnv: true}, "dot", ".env"},
		{Options{Dir: dir, DotEnv: true, Environ: []string{"MUSTER_PROJECT=env"}}, "env", "environment"},
	} {
		l, err := Load(c.o)
		if err != nil || l.Spec.Project != c.name || l.Origins["name"] != c.origin {
			t.Errorf("%+v: %+v %v", c.o, l, err)
		}
	}
}

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource(SchemaURL, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(SchemaURL)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON is what an editor makes of the file.
func asJSON(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := yaml.Load([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(textKeys(v))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func textKeys(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = textKeys(v[k])
		}
	case map[any]any:
		m := map[string]any{}
		for k := range v {
			m[fmt.Sprint(k)] = textKeys(v[k])
		}
		return m
	case []any:
		for i := range v {
			v[i] = textKeys(v[i])
		}
	}
	return v
}

// S1.4: the file is checked against a schema. It accepts what Load accepts …
func TestSchemaGood(t *testing.T) {
	s := compiled(t)
	for name, text := range samples(t) {
		if err := s.Validate(asJSON(t, text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.Validate(asJSON(t, Show(good(t, text), true))); err != nil {
			t.Errorf("%s as shown: %v", name, err)
		}
	}
}

// … and refuses what has the wrong form.
func TestSchemaBad(t *testing.T) {
	s := compiled(t)
	for _, text := range []string{
		"{}", "version: 2\napps: {}", "version: 1", "version: 1\napps: {}\nservices: {}", "version: 1\napps: {WEB: {command: x}}",
		head + "    lisen: 1", head + "    workers: many", head + "    workers: 2000", head + "    shell: maybe", head + "    type: daemon",
		head + "    restart: sometimes", head + "    restart: {delay: fast}", head + "    stop: SIGTERM", head + "    stop: {timeout: 30}",
		head + "    health: ftp://x", head + "    health: {interval: [1]}", head + "    ready: soon", head + "    log: stdout", head + "    umask: '9'",
		head + "    env: [A=1]", head + "    env: {A: ~}", head + "    env: {A: {}}", head + "    slot_env: {x: {}}", head + "    ports: 8000", head + "    ports: {a: 70000}",
		head + "    listen: [{name: x}]", head + "    listen: {'a b': 1}", head + "    depends_on: {a: healthy}", head + "    limits: {nice: 50}",
		head + "    limits: {memory: big}", "version: 1\napps: {web: {command: []}}", head + "    on_exit: []",
		head + "    allow: all", head + "    heartbeat: fast", head + "    console: {port: x}", head + "    role: [a]",
		top("notify: {x: mailto:x}"), top("notify: {X: 'https://x'}"), top("notify: {x: {slak: a}}"), top("notify: {x: {command: a, on: never}}"),
	} {
		if err := s.Validate(asJSON(t, text)); err == nil {
			t.Errorf("the schema accepts\n%s", text)
		}
		if _, err := load(t, text); err == nil {
			t.Errorf("Load accepts\n%s", text)
		}
	}
}

// every lists all fields with their paths, for a new app.
func every(t *testing.T) map[string]table.Field {
	t.Helper()
	a, h := spec.DefaultApp("x"), spec.DefaultHealth()
	s := spec.Spec{Control: spec.Control{Mode: 0o600}}
	all := map[string]table.Field{}
	for prefix, fields := range map[string][]table.Field{
		"": allRootFields(&s), "notify": notifierFields(new(spec.DefaultNotifier("x"))),
		"heartbeat": heartbeatFields(&a.Heartbeat), "console": consoleFields(&a.Console), "app": (&appDraft{App: &a}).fields(), "control": controlFields(&s.Control),
		"listen": listenerFields(&spec.Listener{Name: "http", Network: "tcp", Mode: 0o600}), "port": portFields(&spec.Port{Increment: 1}),
		"ready": readyFields(&a.Ready), "health": healthFields(&h), "restart": restartFields(&a.Restart),
		"stop": stopFields(&a.Stop), "reload": reloadFields(&a.Reload), "limits": limitFields(&a.Limits), "log": logFields(&a.Log),
	} {
		for _, f := range fields {
			all[prefix+"."+f.Key] = f
		}
	}
	return all
}

// The defaults in the tables are those of spec, each key is documented, and the
// good samples use all of them.
func TestTables(t *testing.T) {
	used := strings.Join(slices.Collect(mapValues(samples(t))), "\n")
	reference := Reference()
	for path, f := range every(t) {
		if f.Doc == "" || !strings.HasSuffix(f.Doc, ".") && !strings.HasSuffix(f.Doc, ":") || strings.Contains(f.Doc, "|") {
			t.Errorf("%s: the text is not a sentence for a table: %q", path, f.Doc)
		}
		if f.Value.Kind() == "" || !strings.Contains(reference, "| `"+f.Key+"` | "+f.Value.Kind()+" |") {
			t.Errorf("%s is not in the reference", path)
		}
		if !strings.Contains(used, f.Key+":") {
			t.Errorf("%s is in no sample", path)
		}
		if path == "app.dir" {
			continue // relative to the file
		}
		shown := f.Value.Show(path)
		if f.Default == "" || shown == nil {
			continue
		}
		if text, ok := shown.Scalar(); ok && text != f.Default {
			t.Errorf("%s: the default is %q, but %q is documented", path, text, f.Default)
		}
	}
}

func mapValues(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}

// Reading anything never panics, never hangs, and a file without problems gives
// a sound spec that survives being shown.
func FuzzLoad(f *testing.F) {
	f.Add(head)
	f.Add("version: 1\nx: &a [*a]\napps: {<<: *a}\n")
	for _, file := range []string{"testdata/bad.yaml", "testdata/good/full.yaml", "testdata/good/short.yaml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		first, problems := fromText(text)
		if len(problems) > 0 {
			if err := asFault("x", problems); len(err.Output) == 0 {
				t.Fatal("problems without words")
			}
			return
		}
		if p := first.Validate(); p != nil {
			t.Fatalf("%v", p)
		}
		again, problems := fromText(render(first, nil))
		if len(problems) > 0 {
			t.Fatalf("%v in\n%s", problems, render(first, nil))
		}
		if c := spec.Diff(first, again); len(c) > 0 {
			t.Fatalf("%+v in\n%s", c, render(first, nil))
		}
	})
}

func fromText(text string) (spec.Spec, []Problem) {
	r := newReader("muster.yaml", "/nowhere", map[string]string{"A": "x"})
	s := spec.Spec{Control: spec.Control{Mode: 0o600}}
	r.load([]byte(text), &s)
	return s, r.d.Problems
}
