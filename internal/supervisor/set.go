package supervisor

import (
	"context"
	"slices"
	"strings"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/supervisor/pool"
	"github.com/muster-run/muster/spec"
)

// edit is what an order sets in one app.
type edit struct {
	pool *pool.Pool
	api.Setting
	next spec.App // as it is declared then
}

// SetPort changes a named port of apps: of ports:, or of a listener. Faults: E-USAGE
// for a name that the app does not have, a port that is out of range or needs a
// privilege, one that is taken by something else that is declared; E-NO-APP.
func (s *Supervisor) SetPort(ctx context.Context, o api.SetPort) api.Outcome {
	return s.set(ctx, o.Selector, o.Now, func(app spec.App) (api.Setting, *fault.Fault) {
		setting, ok := api.PortSetting(app, o.Name, o.Port)
		if !ok {
			return setting, noPort(app, o.Name)
		}
		return setting, mayBind(app, setting, o.Port)
	})
}

// SetProbe changes the interval of the health check of apps, at once. Faults:
// E-USAGE for an app without a check, or an interval that is too short; E-NO-APP.
func (s *Supervisor) SetProbe(ctx context.Context, o api.SetProbe) api.Outcome {
	return s.set(ctx, o.Selector, false, func(app spec.App) (api.Setting, *fault.Fault) {
		setting, ok := api.ProbeSetting(app, o.Interval)
		switch {
		case !ok:
			return setting, fault.New(fault.Usage, "%s has no health check", app.Name).At(app.Name).WithFix("declare one under health:")
		case o.Interval.D() < spec.MinInterval:
			return setting, fault.New(fault.Usage, "a check every %s would be a hot loop", o.Interval).At(app.Name).
				WithFix("give a time such as 10s")
		}
		return setting, nil
	})
}

func noPort(app spec.App, name string) *fault.Fault {
	f := fault.New(fault.Usage, "%s has no port %q", app.Name, name).At(app.Name)
	known := api.PortNames(app)
	switch near := spec.Nearest(name, known); {
	case len(known) == 0:
		return f.WithFix("declare it under ports: or listen:")
	case near != "":
		return f.WithFix("did you mean " + near + "?")
	}
	return f.WithFix("it has " + strings.Join(known, ", "))
}

// mayBind refuses a port that whoever binds it could not get: muster for a listener,
// the worker itself for one of ports:.
func mayBind(app spec.App, setting api.Setting, port int) *fault.Fault {
	lowest := listener.LowestPort()
	if strings.HasPrefix(setting.Field, "ports.") && app.User != "" && app.User != "root" && app.User != "0" {
		lowest = listener.FreePort()
	}
	switch {
	case port < 1 || port > 65535:
		return fault.New(fault.Usage, "%d is no port", port).At(app.Name).WithFix("use 1024 to 65535")
	case port < lowest:
		return fault.New(fault.Usage, "port %d needs a privilege", port).At(app.Name).
			WithFix("use 1024 to 65535, or run muster as root or with CAP_NET_BIND_SERVICE")
	}
	return nil
}

// set carries out one such order at a time: what is checked together is declared
// together.
func (s *Supervisor) set(ctx context.Context, selector string, now bool,
	of func(spec.App) (api.Setting, *fault.Fault),
) api.Outcome {
	ctx, done, f := s.order(ctx)
	var edits []edit
	if f == nil {
		defer done()
		select {
		case s.setting <- struct{}{}:
			defer func() { <-s.setting }()
			edits, f = s.edits(selector, of)
		case <-ctx.Done():
			f = fault.From(context.Cause(ctx))
		}
	}
	if f != nil {
		return api.Outcome{Results: []api.Result{{App: selector, Fault: f}}}
	}
	targets := make([]target, len(edits))
	for i, e := range edits {
		targets[i].pool = e.pool
	}
	return api.Outcome{Results: together(targets, func(t target) (string, *fault.Fault) {
		i := slices.IndexFunc(edits, func(e edit) bool { return e.pool == t.pool })
		return s.carryOut(ctx, edits[i], now)
	})}
}

// edits checks what is to be set, all apps together, before anything is touched.
func (s *Supervisor) edits(selector string, of func(spec.App) (api.Setting, *fault.Fault)) ([]edit, *fault.Fault) {
	targets, f := s.find(selector)
	if f != nil {
		return nil, f
	}
	next := s.Spec()
	var edits []edit
	for _, t := range targets {
		if t.slots != nil {
			return nil, wholeApp(selector, t.pool)
		}
		app, _ := t.pool.Declared()
		setting, f := of(app)
		if f != nil {
			return nil, f
		}
		setting.Keep(&app)
		edits = append(edits, edit{t.pool, setting, app})
		for i := range next.Apps {
			if next.Apps[i].Name == app.Name {
				next.Apps[i] = app
			}
		}
	}
	for _, p := range next.Validate() {
		return nil, fault.New(fault.Usage, "%s", p.Text).At(p.Path).WithFix(p.Fix)
	}
	return edits, nil
}

func (s *Supervisor) carryOut(ctx context.Context, e edit, now bool) (string, *fault.Fault) {
	wanted, _ := e.pool.Begun()
	text, f := "", (*fault.Fault)(nil)
	if e.Was != e.Now {
		s.note(e)
	}
	switch {
	case now && wanted:
		text, f = e.pool.Amend(ctx, e.Keep)
	default:
		f = e.pool.Set(ctx, e.Keep)
		if wanted && e.Field != "health.interval" {
			text = "it holds from the next start or reload"
		}
	}
	if e.Was != e.Now {
		s.settle(e, f == nil)
	}
	if f != nil {
		return "", f
	}
	return strings.TrimSuffix(e.Setting.String()+"; "+text, "; "), nil
}

// note remembers what is about to be set, for declarations to come. Only what the app
// is really declared with counts, so that it does no harm before that is clear.
func (s *Supervisor) note(e edit) {
	s.mu.Lock()
	list := slices.Clone(s.settings[e.pool.Name()])
	s.settings[e.pool.Name()] = append(list, chained(list, e.Setting))
	s.mu.Unlock()
	s.saveAgain()
}

// settle forgets what was set before, or what could not be set.
func (s *Supervisor) settle(e edit, done bool) {
	s.mu.Lock()
	name := e.pool.Name()
	mine := chained(s.settings[name], e.Setting)
	s.settings[name] = slices.DeleteFunc(slices.Clone(s.settings[name]), func(set api.Setting) bool {
		if done {
			return set.Field == mine.Field && (set != mine || mine.Was == mine.Now)
		}
		return set == mine
	})
	if len(s.settings[name]) == 0 {
		delete(s.settings, name)
	}
	s.mu.Unlock()
	s.saveAgain()
}

// chained is a setting over what the app was declared with before all of them.
func chained(list []api.Setting, add api.Setting) api.Setting {
	for _, old := range list {
		if old.Field == add.Field && old.Now == add.Was {
			add.Was = old.Was
		}
	}
	return add
}

// settingsOf are those that hold in what an app is declared as.
func (s *Supervisor) settingsOf(p *pool.Pool) []api.Setting {
	s.mu.Lock()
	list := slices.Clone(s.settings[p.Name()])
	s.mu.Unlock()
	if len(list) == 0 {
		return nil
	}
	app, _ := p.Declared()
	var hold []api.Setting
	for _, set := range list {
		if set.In(app) == set.Now {
			hold = append(hold, set)
		}
	}
	return hold
}

// keepSettings makes what was set hold in the declarations of an order.
func (s *Supervisor) keepSettings(o api.Order) api.Order {
	o.Apps = slices.Clone(o.Apps)
	for i := range o.Apps {
		p := s.pool(o.Apps[i].Name)
		if p == nil {
			continue
		}
		for _, set := range s.settingsOf(p) {
			set.Keep(&o.Apps[i])
		}
	}
	return o
}
