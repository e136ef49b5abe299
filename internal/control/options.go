package control

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/internal/output"
	"github.com/muster-run/muster/spec"
)

// Options of a Server. The five parts of the supervisor are usually one value.
type Options struct {
	// Status makes the answer of GET /v1/status. Required, as are the next five.
	Status func() api.Status
	Apply  Applier
	Life   Life
	Pools  Pools
	Launch func(selector string) (api.Launch, error)
	// Events is the Hub that GET /v1/events reads, and where orders are published.
	Events *event.Hub
	// Log finds the recorded output of one app; nil when there is no such app.
	// nil: GET /v1/logs is not offered.
	Log func(app string) *output.Log
	// Metrics serves GET /metrics; nil: not offered.
	Metrics http.Handler
	// Set changes single values of apps; nil: not offered.
	Set Settings
	// SessionKey is the key of this session; nil: not offered.
	SessionKey func() api.SessionKey
	// Operations between processes; nil: not offered.
	Operations Operations
	// NotifyTest has notifiers deliver a test note, all of them for ""; nil: not
	// offered.
	NotifyTest func(ctx context.Context, name string) []api.Result
	// Shutdown ends everything the agent runs and returns when all of it has
	// stopped. The agent must not wait for Serve in it, but end Serve's context
	// after it: Serve then returns as soon as the answer is written.
	// It may be called several times, also at once. nil: not offered.
	Shutdown func(api.StopRequest)
	// Upgrade replaces the agent by one of another binary, and returns when that is
	// about to happen. nil: not offered.
	Upgrade func(context.Context, api.UpgradeRequest) (api.Upgrade, error)
	// ReopenLogs opens log files anew; nil: not offered.
	ReopenLogs func() error

	// Version of muster, told in every answer; Node is the Node of published events.
	Version, Node string
	// Owner is the uid that may do everything, as root may. Default 0: root only.
	Owner int
	// Group may do everything too. "": no group.
	Group string
	// MaxConns is the number of connections served at a time, default 256;
	// those beyond it are told so.
	MaxConns int
	// MaxBody bounds the body of a request in bytes, default 8 MiB.
	MaxBody int64
	// Grace is how long Serve waits at its end for orders that still run,
	// default 10s.
	Grace time.Duration
	// Logger takes what goes wrong inside a route; nil: nowhere.
	Logger *slog.Logger

	// Times of the wire, shorter in tests: for the header of a request, its
	// body, one write of an answer, and between two pings.
	headerTime, bodyTime, writeTime, pingTime time.Duration
	// eventBuffer is how many events a reader may fall behind.
	eventBuffer int
}

// Applier is the configuration side of the supervisor.
type Applier interface {
	Spec() spec.Spec
	Diff(s spec.Spec) []spec.Change
	// Apply returns when everything it touched is ready or has failed, or when
	// ctx ends; that undoes nothing. The same holds for every order below.
	Apply(ctx context.Context, s spec.Spec) api.ApplyResult
}

// Life starts and stops workers.
type Life interface {
	Start(ctx context.Context, o api.Order) api.Outcome
	Stop(ctx context.Context, o api.Order) api.Outcome
	Restart(ctx context.Context, o api.Order) api.Outcome
}

// Pools changes what runs, and speaks to it.
type Pools interface {
	Reload(ctx context.Context, o api.Order) api.Outcome
	Rollback(ctx context.Context, o api.Order) api.Outcome
	Scale(ctx context.Context, o api.Order) api.Outcome
	Signal(ctx context.Context, o api.Order) api.Outcome
	// Message sends a message to workers, with a result for each of them. It does
	// not wait for what they do with it.
	Message(ctx context.Context, m api.Message) api.Outcome
}

// Settings changes single values of what apps are declared as.
type Settings interface {
	SetPort(ctx context.Context, o api.SetPort) api.Outcome
	SetProbe(ctx context.Context, o api.SetProbe) api.Outcome
}

// withDefaults checks the options and fills in what is not set.
func (o Options) withDefaults() (Options, error) {
	if o.Status == nil || o.Apply == nil || o.Life == nil || o.Pools == nil || o.Launch == nil || o.Events == nil {
		return o, errors.New("control: Status, Apply, Life, Pools, Launch and Events are required")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	orInt(&o.MaxConns, 256)
	orInt(&o.MaxBody, 8<<20)
	orInt(&o.Grace, 10*time.Second)
	orInt(&o.headerTime, 5*time.Second)
	orInt(&o.bodyTime, 30*time.Second)
	orInt(&o.writeTime, time.Minute)
	orInt(&o.pingTime, 15*time.Second)
	orInt(&o.eventBuffer, 1024)
	return o, nil
}

func orInt[T ~int | ~int64](v *T, otherwise T) {
	if *v <= 0 {
		*v = otherwise
	}
}
