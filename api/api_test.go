package api_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
)

var update = flag.Bool("update", false, "add to the golden files")

func TestOutcomeFault(t *testing.T) {
	bad, worse := fault.New(fault.ReloadFailed, "bad"), fault.New(fault.NoApp, "worse")
	for _, c := range []struct {
		name  string
		given []*fault.Fault
		want  fault.Code
		text  string
	}{
		{"nothing done", nil, "", ""},
		{"all well", []*fault.Fault{nil, nil}, "", ""},
		{"the only one", []*fault.Fault{bad}, fault.ReloadFailed, "bad"},
		{"some", []*fault.Fault{nil, bad, nil}, fault.Partly, "1 of 3 apps failed"},
		{"all", []*fault.Fault{worse, bad}, fault.NoApp, "all 2 apps failed"},
		{"notifiers", []*fault.Fault{nil, fault.New(fault.NotifyFailed, "x")}, fault.Partly, "1 of 2 notifiers failed"},
	} {
		var o api.Outcome
		for _, f := range c.given {
			o.Results = append(o.Results, api.Result{App: "x", Fault: f})
		}
		f := o.Fault()
		if f == nil {
			if c.want != "" {
				t.Errorf("%s: got nothing", c.name)
			}
			continue
		}
		if f.Code != c.want || f.Text != c.text {
			t.Errorf("%s: got %v", c.name, f)
		}
	}
}

// What crosses the wire only grows: a key that was there stays, with its type.
func TestKeysOnlyGrow(t *testing.T) {
	var have []string
	seen := map[reflect.Type]bool{}
	for _, v := range []any{
		api.Status{},
		api.Order{},
		api.Outcome{},
		api.ApplyRequest{},
		api.ApplyResult{},
		api.Record{},
		api.Launch{},
		api.StopRequest{},
		api.Agent{},
		api.Done{},
		api.Failure{},
		api.SetPort{},
		api.SetProbe{},
		api.SessionKey{},
		event.Event{},
	} {
		have = append(have, keysOf(reflect.TypeOf(v), seen)...)
	}
	slices.Sort(have)
	file := filepath.Join("testdata", "keys.txt")
	if *update {
		if err := os.WriteFile(file, []byte(strings.Join(have, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); !slices.Contains(have, line) {
			t.Errorf("%s is gone: clients of another version rely on it", line)
		}
	}
}

func keysOf(t reflect.Type, seen map[reflect.Type]bool) (list []string) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || seen[t] || t.String() == "time.Time" {
		return nil
	}
	seen[t] = true
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "-" && f.IsExported() && !f.Anonymous {
			list = append(list, strings.TrimSpace(strings.Join([]string{t.String(), name, wireName(f.Type), options}, " ")))
		}
		if name != "-" && f.IsExported() {
			list = append(list, keysOf(f.Type, seen)...)
		}
	}
	return list
}

// wireName is a type's name as clients write it: the scalars are spec's.
func wireName(t reflect.Type) string { return strings.ReplaceAll(t.String(), "scalar.", "spec.") }

// Every key is written as people write them in muster.yaml, and none is left to chance.
func TestKeysAreLowerCase(t *testing.T) {
	for _, key := range keysOf(reflect.TypeFor[api.Status](), map[reflect.Type]bool{}) {
		name := strings.Fields(key)[1]
		if strings.ToLower(name) != name || strings.Contains(name, "-") {
			t.Errorf("%s is not lower_case", key)
		}
	}
}

// The orders of `curl` are short: what is not given is not sent either.
func TestShortForms(t *testing.T) {
	for want, v := range map[string]any{
		`{"selector":"web"}`: api.Order{Selector: "web"},
		`{}`:                 api.StopRequest{},
		`{"results":null}`:   api.Outcome{},
		`{"app":"web"}`:      api.Result{App: "web"},
	} {
		if got, err := json.Marshal(v); err != nil || string(got) != want {
			t.Errorf("%T: got %s, %v, want %s", v, got, err, want)
		}
	}
}
