package operations

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/peer"
	"github.com/muster-run/muster/spec"
)

// Who may order what, and what reaches whom (S1.2, S1.5).
func TestOrders(t *testing.T) {
	r := begun(t)
	const stopAgent, orders = spec.AllowStopAgent, spec.AllowOrders
	client, _ := r.client("me")
	own, chief, boss := r.worker("web", 0), r.worker("chief", 0, stopAgent), r.worker("boss", 1, orders)
	no := false
	for _, c := range []struct {
		by      *peer.Peer
		op      string
		body    any
		carried string // "": nothing
		code    fault.Code
	}{
		{own, op.Kill, nil, `stop web "web#0 asks for it: no reason given" 0 false`, ""},
		{own, op.Kill, op.KillBody{Reason: "had\x00 \x1b[31m enough\n", ExitCode: 7, Graceful: &no}, `stop web "web#0 asks for it: had   [31m enough" 7 true`, ""},
		{own, op.Kill, op.KillBody{Reason: strings.Repeat("é", 400)}, fmt.Sprintf("stop web %q 0 false", "web#0 asks for it: "+strings.Repeat("é", 256)), ""},
		{own, op.Kill, op.KillBody{ExitCode: 256}, "", fault.Usage},
		{own, op.Kill, op.KillBody{ExitCode: -1}, "", fault.Usage},
		{own, op.Kill, op.KillBody{Agent: true}, "", fault.Denied},
		{own, op.Kill, "now", "", fault.Usage},
		{boss, op.Kill, op.KillBody{Agent: true}, "", fault.Denied},
		{chief, op.Kill, op.KillBody{Agent: true, Reason: "x", ExitCode: 3}, `stop agent "chief#0 asks for it: x" 3 false`, ""},
		{chief, op.Kill, nil, `stop chief "chief#0 asks for it: no reason given" 0 false`, ""},
		{client, op.Kill, op.KillBody{Agent: true}, `stop agent "client:me asks for it: no reason given" 0 false`, ""},
		{client, op.Kill, nil, "", fault.Usage}, // not all of it because a word was left out

		{own, op.Restart, nil, "restart web", ""},
		{own, op.Restart, op.OrderBody{Selector: "web#1", Reason: "leak"}, "restart web#1", ""},
		{own, op.Restart, op.OrderBody{Selector: "web#1,chief"}, "", fault.Denied},
		{own, op.Restart, op.OrderBody{Selector: "web*"}, "", fault.Denied},
		{own, op.Restart, op.OrderBody{Selector: "webmail#0"}, "", fault.Denied},
		{own, op.Restart, op.OrderBody{Selector: "all"}, "", fault.Denied},
		{chief, op.Reload, op.OrderBody{Selector: "web"}, "", fault.Denied}, // that is another permission
		{boss, op.Reload, op.OrderBody{Selector: "web,chief"}, "reload web,chief", ""},
		{client, op.Reload, op.OrderBody{Selector: "web"}, "reload web", ""},
		{client, op.Reload, nil, "", fault.Usage},

		{own, op.SetPort, op.PortBody{Name: "http", Port: 8080, Now: true}, "port web http 8080 true", ""},
		{own, op.SetPort, op.PortBody{App: "chief", Name: "http", Port: 8080}, "", fault.Denied},
		{boss, op.SetPort, op.PortBody{App: "web", Name: "http", Port: 8080}, "port web http 8080 false", ""},
		{own, op.SetProbe, op.ProbeBody{IntervalMS: 1500}, "probe web 1.5s", ""},
		{own, op.SetProbe, op.ProbeBody{App: "chief", IntervalMS: 1500}, "", fault.Denied},
		{own, op.SetProbe, op.ProbeBody{IntervalMS: 1 << 62}, "", fault.Usage}, // no overflow
		{own, op.SetProbe, op.ProbeBody{IntervalMS: -1}, "", fault.Usage},
		{own, op.ConfigReload, nil, "", fault.Denied},
		{boss, op.ConfigReload, nil, "config reload", ""},
		{client, op.ConfigReload, nil, "config reload", ""},
	} {
		err := c.by.Request(within(t), "", c.op, c.body, nil)
		if code := fault.CodeOf(err); code != c.code {
			t.Errorf("%s %s: %v, want %q", c.op, text(c.body), err, c.code)
		}
		if got := strings.Join(r.home.taken(), ", "); got != c.carried {
			t.Errorf("%s %s: carried out: %s, want %s", c.op, text(c.body), got, c.carried)
		}
	}
	if told := r.told(); !slices.Contains(told, "restart web#1: leak by web#0 pid 1000") {
		t.Errorf("told: %q", told)
	}
	var st api.Status
	if err := own.Request(within(t), "", op.Status, nil, &st); err != nil || st.Project != "shop" {
		t.Error(st, err)
	}
}

// What becomes of an order is the reply, with the code of its fault.
func TestOrdersThatFail(t *testing.T) {
	r := begun(t)
	w := r.worker("web", 0, spec.AllowOrders)
	r.home.says = api.Outcome{Results: []api.Result{{App: "web", Fault: fault.New(fault.ReloadFailed, "the new one fails").At("web#0")}}}
	r.home.load = fault.New(fault.Config, "muster.yaml: line 3")
	for name, want := range map[string]fault.Code{op.Reload: fault.ReloadFailed, op.Kill: fault.ReloadFailed, op.ConfigReload: fault.Config} {
		if err := w.Request(within(t), "", name, nil, nil); fault.CodeOf(err) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Orders wait until somebody can carry them out; who ends before that answers nothing,
// as its successor will.
func TestOrdersWait(t *testing.T) {
	store := process.NewDirectStore()
	t.Cleanup(func() { _ = store.Close() })
	r := open(t, store, 1)
	w := r.worker("web", 0)
	done := make(chan error, 1)
	go func() { done <- w.Request(within(t), "", op.Restart, nil, nil) }() // ends with Begin
	rest := time.NewTimer(50 * time.Millisecond)
	select {
	case err := <-done:
		t.Fatal("it was answered before there was a home:", err)
	case <-rest.C:
	}
	r.ops.Begin(r.home.home())
	if err := <-done; err != nil || text(r.home.taken()) != `["restart web"]` {
		t.Error(err)
	}

	ended := open(t, process.NewDirectStore(), 1)
	p := ended.worker("web", 0)
	if err := p.Send(within(t), "", op.Restart, nil); err != nil {
		t.Fatal(err)
	}
	ended.ops.Close() // returns, though the order waits
	if got := ended.home.taken(); got != nil {
		t.Error(got)
	}
}
