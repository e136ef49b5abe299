package operations

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/exchange"
	"github.com/muster-run/muster/internal/op"
	"github.com/muster-run/muster/spec"
)

// Home is whom orders go to.
type Home struct {
	Apps   Apps
	Status func() api.Status
	// StopAgent ends the agent and all it runs. StopApp ends an app; its code becomes
	// muster's own when nothing else is left.
	StopAgent func(reason string, code int, now bool)
	StopApp   func(ctx context.Context, app, reason string, code int, now bool) api.Outcome
	// ReloadConfig reads the configuration anew and applies it.
	ReloadConfig func(ctx context.Context) error
}

// Apps carries out the orders about apps.
type Apps interface {
	Restart(ctx context.Context, o api.Order) api.Outcome
	Reload(ctx context.Context, o api.Order) api.Outcome
	SetPort(ctx context.Context, o api.SetPort) api.Outcome
	SetProbe(ctx context.Context, o api.SetProbe) api.Outcome
}

// order is a call that is to be carried out.
type order struct {
	*Operations
	call *exchange.Call
	from op.Party
}

func (o *Operations) serveOrders() {
	for name, carry := range map[string]func(order, context.Context) (any, error){
		op.Kill: order.kill, op.Restart: order.restart, op.Reload: order.reload, op.Status: order.status,
		op.SetPort: order.setPort, op.SetProbe: order.setProbe, op.ConfigReload: order.configReload,
	} {
		o.exchange.Serve(name, func(c *exchange.Call) {
			o.tasks.Go(func() { o.carryOut(c, carry) })
		})
	}
}

// carryOut waits until there is somebody to carry it out. It does not end with the
// worker that has ordered it, which may be the one to be replaced.
func (o *Operations) carryOut(c *exchange.Call, carry func(order, context.Context) (any, error)) {
	select {
	case <-o.begun:
	case <-o.ctx.Done():
		return
	}
	c.Reply(carry(order{o, c, c.Party()}, o.ctx))
}

// body decodes what came with the call.
func body[T any](o order) (v T, err error) {
	if text := o.call.Body(); len(text) > 0 {
		if err := json.Unmarshal(text, &v); err != nil {
			return v, fault.New(fault.Usage, "the body of %s cannot be read: %w", o.call.Op(), err)
		}
	}
	return v, nil
}

// tell publishes that a worker has given an order.
func (o order) tell(verb, target string) {
	by := fmt.Sprintf("%s pid %d", o.from.Name, o.call.PID())
	o.o.Events.Publish(event.Event{Node: o.o.Node, Slot: event.NoSlot, Data: event.Order{Verb: verb, Target: target, By: by}})
}

// reasonMax is how much is told of the reason for an order, in bytes.
const reasonMax = 512

// brief is a reason as it may stand in an event, and in a variable of on_exit.
func brief(reason string) string {
	text := strings.ToValidUTF8(reason[:min(len(reason), reasonMax)], "")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text))
}

// may says whether it may order what concerns an app that is not its own.
func (o order) may(permission string) error {
	if o.from.App == "" || slices.Contains(o.from.Allow, permission) {
		return nil
	}
	return fault.New(fault.Denied, "app %s may not do that", o.from.App).WithFix("write allow: [" + permission + "] for it in muster.yaml")
}

// target is the selector of an order: its own app unless it may order others.
func (o order) target(selector string) (string, error) {
	switch own := o.from.App; {
	case selector == "" && own == "":
		return "", fault.New(fault.Usage, "name an app")
	case selector == "", selector == own, strings.HasPrefix(selector, own+"#") && !strings.Contains(selector, ","):
		if selector == "" {
			return own, nil
		}
		return selector, nil
	}
	return selector, o.may(spec.AllowOrders)
}

func outcome(out api.Outcome) (any, error) {
	if f := out.Fault(); f != nil {
		return nil, f
	}
	return out, nil
}

func (o order) kill(ctx context.Context) (any, error) {
	in, err := body[op.KillBody](o)
	if err != nil {
		return nil, err
	}
	if in.ExitCode < 0 || in.ExitCode > 255 {
		return nil, fault.New(fault.Usage, "exit_code is %d, it can be 0 to 255", in.ExitCode)
	}
	reason := cmp.Or(brief(in.Reason), "no reason given")
	reason = fmt.Sprintf("%s asks for it: %s", o.from.Name, reason)
	now := in.Graceful != nil && !*in.Graceful
	switch err := o.may(spec.AllowStopAgent); {
	case !in.Agent && o.from.App == "": // all that runs is not ended by leaving something out
		return nil, fault.New(fault.Usage, "%s belongs to no app that could be stopped", o.from.Name).WithFix("say agent: true to end muster and all it runs")
	case !in.Agent:
		o.tell("kill", o.from.App+": "+reason)
		return outcome(o.home.StopApp(ctx, o.from.App, reason, in.ExitCode, now))
	case err != nil:
		return nil, err
	}
	o.tell("kill", "agent: "+reason)
	o.home.StopAgent(reason, in.ExitCode, now)
	return struct{}{}, nil
}

func (o order) restart(ctx context.Context) (any, error) {
	return o.order(ctx, "restart", o.home.Apps.Restart)
}

func (o order) reload(ctx context.Context) (any, error) {
	return o.order(ctx, "reload", o.home.Apps.Reload)
}

func (o order) order(ctx context.Context, verb string, carry func(context.Context, api.Order) api.Outcome) (any, error) {
	in, err := body[op.OrderBody](o)
	if err != nil {
		return nil, err
	}
	selector, err := o.target(in.Selector)
	if err != nil {
		return nil, err
	}
	target := selector
	if in.Reason != "" {
		target += ": " + brief(in.Reason)
	}
	o.tell(verb, target)
	return outcome(carry(ctx, api.Order{Selector: selector}))
}

func (o order) status(context.Context) (any, error) { return o.home.Status(), nil }

func (o order) setPort(ctx context.Context) (any, error) {
	in, err := body[op.PortBody](o)
	if err != nil {
		return nil, err
	}
	app, err := o.target(in.App)
	if err != nil {
		return nil, err
	}
	o.tell("set port", fmt.Sprintf("%s %s %d", app, in.Name, in.Port))
	return outcome(o.home.Apps.SetPort(ctx, api.SetPort{Selector: app, Name: in.Name, Port: in.Port, Now: in.Now}))
}

func (o order) setProbe(ctx context.Context) (any, error) {
	in, err := body[op.ProbeBody](o)
	if err != nil {
		return nil, err
	}
	app, err := o.target(in.App)
	if err != nil {
		return nil, err
	}
	if limit := math.MaxInt64 / time.Millisecond.Nanoseconds(); in.IntervalMS > limit || in.IntervalMS < 0 {
		return nil, fault.New(fault.Usage, "interval_ms is %d", in.IntervalMS).WithFix("give milliseconds, such as 10000")
	}
	interval := spec.Duration(time.Duration(in.IntervalMS) * time.Millisecond)
	o.tell("set probe", fmt.Sprintf("%s %s", app, interval))
	return outcome(o.home.Apps.SetProbe(ctx, api.SetProbe{Selector: app, Interval: interval}))
}

func (o order) configReload(ctx context.Context) (any, error) {
	if err := o.may(spec.AllowOrders); err != nil {
		return nil, err
	}
	o.tell("config reload", "all")
	return struct{}{}, o.home.ReloadConfig(ctx)
}
