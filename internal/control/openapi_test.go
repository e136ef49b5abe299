package control

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/spec"
)

func TestOpenAPIIsComplete(t *testing.T) {
	var d struct {
		OpenAPI string `json:"openapi"`
		Info    struct{ Title, Version string }
		Paths   map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Summary     string
			Parameters  []struct{ Name, In string }
			RequestBody *struct{ Content map[string]any } `json:"requestBody"`
			Responses   map[string]struct{ Content map[string]any }
		}
		Components struct{ Schemas map[string]map[string]any }
	}
	g := serve(t, nil)
	_, text := g.send("GET", "/v1/openapi.json", "")
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	if d.OpenAPI != "3.1.0" || d.Info.Version != "1.0.0" || d.Info.Title == "" {
		t.Errorf("head: %+v", d.Info)
	}
	ids := map[string]bool{}
	for _, r := range Routes() {
		op, ok := d.Paths[r.Path][strings.ToLower(r.Method)]
		if !ok || op.OperationID == "" || ids[op.OperationID] || op.Summary != r.Text {
			t.Errorf("%s %s: got %+v", r.Method, r.Path, op)
		}
		ids[op.OperationID] = true
		if len(op.Parameters) != len(r.Query) || (op.RequestBody != nil) != (r.in != nil) || (r.in != nil) != (r.Method == "POST") {
			t.Errorf("%s %s: parameters or body differ", r.Method, r.Path)
		}
		for _, status := range []string{"200", "default"} {
			if len(op.Responses[status].Content) != 1 {
				t.Errorf("%s %s: no content for %s", r.Method, r.Path, status)
			}
		}
	}
	checkRefs(t, text, d.Components.Schemas)
	for _, name := range []string{"Status", "App", "Worker", "Order", "Outcome", "ApplyResult", "SpecApp", "EventOrder", "EventReload", "FaultFault", "EventEvent"} {
		if d.Components.Schemas[name]["type"] != "object" {
			t.Errorf("schema %s is %v", name, d.Components.Schemas[name])
		}
	}
}

// checkRefs follows every $ref of a document, and wants every schema used or an
// event's data.
func checkRefs(t *testing.T, text string, schemas map[string]map[string]any) {
	t.Helper()
	var document any
	if err := json.Unmarshal([]byte(text), &document); err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				name, ok := strings.CutPrefix(ref, "#/components/schemas/")
				if !ok || schemas[name] == nil {
					t.Errorf("%s leads nowhere", ref)
				}
				used[name] = true
			}
			for _, child := range v {
				walk(child)
			}
		case []any:
			for _, child := range v {
				walk(child)
			}
		}
	}
	walk(document)
	for _, d := range event.Kinds() {
		used[nameOf(reflect.TypeOf(d))] = true
	}
	for name := range schemas {
		if !used[name] {
			t.Errorf("schema %s is used nowhere", name)
		}
	}
}

// Every key that encoding/json writes is described, and nothing else.
func TestSchemasMatchJSON(t *testing.T) {
	for _, v := range []any{api.Status{}, api.ApplyResult{}, api.Worker{}, spec.App{}, spec.Spec{}, event.WorkerExit{}} {
		all := schemas{}
		all.of(reflect.TypeOf(v))
		s := all[nameOf(reflect.TypeOf(v))]
		var wire map[string]any
		if err := json.Unmarshal([]byte(mustJSON(t, v)), &wire); err != nil {
			t.Fatal(err)
		}
		got := slices.Sorted(maps.Keys(wire))
		required := slices.Sorted(slices.Values(s["required"].([]string)))
		if !slices.Equal(got, required) {
			t.Errorf("%T: an empty value has %v, required are %v", v, got, required)
		}
	}
}

func TestReferenceNamesEverything(t *testing.T) {
	text := Reference()
	for _, r := range Routes() {
		if !strings.Contains(text, "## "+r.Method+" "+r.Path+"\n") || !strings.Contains(text, r.Text) {
			t.Errorf("%s %s is not described", r.Method, r.Path)
		}
		for _, p := range r.Query {
			if !strings.Contains(text, p.Text) {
				t.Errorf("%s of %s is not described", p.Name, r.Path)
			}
		}
	}
	for _, d := range event.Kinds() {
		if !strings.Contains(text, "`"+d.Kind()+"`") {
			t.Errorf("%s is not described", d.Kind())
		}
	}
	for _, part := range strings.Split(text, "](#")[1:] {
		name, _, _ := strings.Cut(part, ")")
		if !strings.Contains(strings.ToLower(text), "\n### "+name+"\n") {
			t.Errorf("the link #%s leads nowhere", name)
		}
	}
}
