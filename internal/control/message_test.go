package control

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
)

// TestMessage: the bytes reach the supervisor unchanged, and the answer says from
// which event on to look for what workers say to it.
func TestMessage(t *testing.T) {
	g := serve(t, nil)
	g.hub.Publish(event.Event{Data: event.Applied{}})
	before := lastOf(g.hub)
	for _, text := range []string{`{ "b":1,"a" : "<&>\u0041" }`, `null`, `[1e3, 1.0]`, "{\n\"x\":\r\n1}", `"` + strings.Repeat("é", 200<<10) + `"`} {
		out, err := g.client().Message(t.Context(), api.Message{Selector: "web#1", Message: json.RawMessage(text)})
		if err != nil || out.Fault() != nil || len(out.Results) != 1 {
			t.Fatalf("%.40s: %+v, %v", text, out, err)
		}
		if out.After < before || out.After >= lastOf(g.hub) {
			t.Errorf("after %d, want one from %d on", out.After, before)
		}
		if got := g.fakes.sent; !slices.Contains(got, text) {
			t.Errorf("%.60q was sent, want %.60q", got[len(got)-1], text)
		}
	}
	past := g.hub.Past()
	if d, ok := past[len(past)-1].Data.(event.Order); !ok || d.Verb != "message" || d.Target != "web#1" || d.By == "" {
		t.Errorf("published %+v", past[len(past)-1])
	}
}

// TestMessageOutcome: a worker that cannot get it is told beside those that can.
func TestMessageOutcome(t *testing.T) {
	g := serve(t, nil)
	g.fakes.do = func(context.Context, string, api.Order) api.Outcome {
		return api.Outcome{Results: []api.Result{
			{App: "web", Worker: "web#0", PID: 7, Text: "sent"},
			{App: "web", Worker: "web#1", PID: 8, Fault: fault.New(fault.ChannelFull, "it does not read").At("web#1")},
		}}
	}
	out, err := g.client().Message(t.Context(), api.Message{Selector: "web", Message: json.RawMessage(`1`)})
	if err != nil || len(out.Results) != 2 || out.Results[1].Fault.Code != fault.ChannelFull {
		t.Fatalf("%+v, %v", out, err)
	}
	if f := out.Fault(); f.Code != fault.Partly || f.Text != "1 of 2 workers failed" {
		t.Error(f)
	}
	g.fakes.do = func(context.Context, string, api.Order) api.Outcome { return api.Outcome{} }
	if out, err := g.client().Message(t.Context(), api.Message{Selector: "web", Message: json.RawMessage(`1`)}); err != nil || out.Results == nil {
		t.Errorf("%+v, %v", out, err)
	}
}

func TestMessageRefused(t *testing.T) {
	g := serve(t, nil)
	for _, c := range []struct {
		body   string
		status int
		text   string
	}{
		{`{"message":1}`, 400, "selector is missing"},
		{`{"selector":"web"}`, 400, "message is missing"},
		{`{"selector":"web","message":{"a":}}`, 400, "cannot read"},
		{`{"selector":"web","message":"` + strings.Repeat("x", api.MessageMax) + `"}`, 413, "at most 1048576"},
	} {
		answer, text := g.send("POST", "/v1/message", c.body)
		var f api.Failure
		if err := json.Unmarshal([]byte(text), &f); err != nil || f.Error == nil {
			t.Fatalf("no fault in %q", text)
		}
		if answer.StatusCode != c.status || f.Error.Code != fault.Usage || !strings.Contains(f.Error.Text, c.text) || f.Error.Fix == "" {
			t.Errorf("%.60s: %d %+v", c.body, answer.StatusCode, f.Error)
		}
	}
	if len(g.fakes.sent) != 0 || lastOf(g.hub) != 0 {
		t.Error("something was sent, or told:", g.fakes.sent)
	}
	if _, err := g.client().Message(t.Context(), api.Message{Selector: "web", Message: json.RawMessage(`{`)}); fault.CodeOf(err) != fault.Usage {
		t.Error(err)
	}
}
