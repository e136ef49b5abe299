package control

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
)

// OpenAPI is the description of the API in OpenAPI 3.1 (JSON). version is that
// of muster.
func OpenAPI(version string) []byte {
	all := schemas{}
	failure := all.of(reflect.TypeFor[api.Failure]())
	paths := map[string]map[string]any{}
	for _, r := range Routes() {
		if paths[r.Path] == nil {
			paths[r.Path] = map[string]any{}
		}
		paths[r.Path][strings.ToLower(r.Method)] = all.operation(r, failure)
	}
	for _, d := range event.Kinds() {
		all.of(reflect.TypeOf(d))
	}
	text, err := json.MarshalIndent(map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{
			"title": "muster control API", "version": version,
			"description": "HTTP over the agent's UNIX socket. Who may ask is decided by the credentials of the peer.",
		},
		"servers":    []any{map[string]any{"url": "http://muster/", "description": "the control socket; the host name does not matter"}},
		"paths":      paths,
		"components": map[string]any{"schemas": all},
	}, "", "  ")
	if err != nil {
		// Every value above is a map, a slice, a string or a bool.
		panic(fmt.Errorf("control: cannot encode the description: %w", err))
	}
	return append(text, '\n')
}

// operation describes one route.
func (all schemas) operation(r Route, failure schema) map[string]any {
	op := map[string]any{
		"operationId": operationID(r),
		"summary":     r.Text,
		"x-access":    r.Access,
		"responses": map[string]any{
			"200":     map[string]any{"description": "Done.", "content": map[string]any{r.media: all.content(r.out)}},
			"default": map[string]any{"description": "It failed; orders and apply hold their results beside the error.", "content": map[string]any{mediaJSON: map[string]any{"schema": failure}}},
		},
	}
	if r.Query != nil {
		var list []any
		for _, p := range r.Query {
			list = append(list, map[string]any{
				"name": p.Name, "in": "query", "required": p.Required, "description": p.Text, "schema": schema{"type": p.Type},
			})
		}
		op["parameters"] = list
	}
	if r.in != nil {
		op["requestBody"] = map[string]any{"required": true, "content": map[string]any{mediaJSON: all.content(r.in)}}
	}
	return op
}

func (all schemas) content(t reflect.Type) map[string]any {
	if t == nil {
		return map[string]any{}
	}
	return map[string]any{"schema": all.of(t)}
}

// operationID is "status", "reopenLogs", "openapiJson": the path in one word.
func operationID(r Route) string {
	words := strings.FieldsFunc(strings.TrimPrefix(r.Path, fmt.Sprintf("/v%d/", api.Version)), func(c rune) bool {
		return c == '-' || c == '/' || c == '.'
	})
	for i, w := range words[1:] {
		words[i+1] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(words, "")
}
