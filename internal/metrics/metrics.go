package metrics

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
)

// Options of Metrics.
type Options struct {
	// Status is called at each scrape.
	Status func() api.Status
	// Hub is where Run gets its events from; nil: they are not counted.
	Hub *event.Hub
	// Output is called at each scrape for the lines that workers printed; nil:
	// they are not reported.
	Output func() []Output
	// Channels is called at each scrape for what the channels of workers have
	// carried; nil: it is not reported.
	Channels func() Channels
	// Doors is called at each scrape for the listeners whose connections muster
	// deals or guards; nil: they are not reported.
	Doors func() []Door
	// Operations is called at each scrape; nil: they are not reported.
	Operations func() Operations
}

// Door counts the connections of a listener since the agent started, or the app.
type Door struct {
	App, Listener string
	// Accepted by muster itself; Dealt to a worker that took them; offered Again, as a
	// worker had died; Refused by a worker; Rescued from behind one that was dead or
	// blocked.
	Accepted, Dealt, Again, Refused, Rescued uint64
	// Waiting now, for a worker that is free.
	Waiting int
}

// Channels counts, over the channels of all workers, since the agent started.
type Channels struct {
	Adopted, Torn uint64 // channels found at the start
	// Frames received: for muster, for nobody, and what no Node.js worker should send.
	Commands, Unheard, Odd uint64
	// Messages of users' code: Heard from workers, Carried to workers, and Refused
	// as a worker could not get them.
	Heard, Carried, Refused uint64
}

// Output counts what the workers of one app printed since the agent started.
type Output struct {
	App            string
	Stdout, Stderr uint64 // lines
	Bytes          uint64
	Lost           uint64 // lines that the log target did not get
}

// Metrics collects and serves. Safe for concurrent use.
type Metrics struct {
	opts     Options
	registry *prometheus.Registry

	mu      sync.Mutex
	seq     uint64            // of the last event seen
	events  map[string]uint64 // by type
	reloads map[[2]string]uint64
	notes   map[[2]string]uint64 // by notifier and outcome
}

// New makes Metrics with a registry of their own.
func New(o Options) *Metrics {
	m := &Metrics{
		opts: o, registry: prometheus.NewRegistry(),
		events: map[string]uint64{}, reloads: map[[2]string]uint64{}, notes: map[[2]string]uint64{},
	}
	m.registry.MustRegister(m, collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler answers scrapes. A scrape that fails in part still answers with the rest.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4,
	})
}

// eventBuffer is how far Run may fall behind the Hub.
const eventBuffer = 1024

// Run counts events until ctx or the Hub ends. A second Run goes on where the
// first has ended.
func (m *Metrics) Run(ctx context.Context) error {
	if m.opts.Hub == nil {
		<-ctx.Done()
		return nil
	}
	for {
		m.mu.Lock()
		seq := m.seq
		m.mu.Unlock()
		sub := m.opts.Hub.Subscribe(seq, eventBuffer)
		err := m.count(ctx, sub)
		sub.Close()
		if !errors.Is(err, event.ErrSlow) {
			return nil
		}
	}
}

// count returns why the subscription has ended.
func (m *Metrics) count(ctx context.Context, sub *event.Subscription) error {
	for {
		select {
		case e, ok := <-sub.C:
			if !ok {
				return sub.Err()
			}
			m.see(e)
		case <-ctx.Done():
			return nil
		}
	}
}

func (m *Metrics) see(e event.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seq = e.Seq
	m.events[e.Type]++
	switch d := e.Data.(type) {
	case event.Reload:
		m.reloaded(e.App, d.Phase)
	case event.Notified:
		m.notified(d)
	}
}

func (m *Metrics) reloaded(app string, phase event.ReloadPhase) {
	switch phase {
	case event.ReloadDone, event.ReloadFailed, event.ReloadAborted:
		m.reloads[[2]string{app, string(phase)}]++
	case event.ReloadQueued, event.ReloadBuilding, event.ReloadRunning, event.ReloadReverting:
	}
}

func (m *Metrics) notified(d event.Notified) {
	outcome := "delivered"
	if d.Fault != nil {
		outcome = "failed"
	}
	m.notes[[2]string{d.Notifier, outcome}]++
	if d.Held > 0 {
		m.notes[[2]string{d.Notifier, "held"}] += uint64(d.Held)
	}
}

// metric declares one metric. labels come after project and node.
type metric struct {
	name, help string
	kind       prometheus.ValueType
	labels     []string
}

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

// The metrics by what they are about.
const (
	agentInfo    = "muster_agent_info"
	appStatus    = "muster_app_status"
	appWanted    = "muster_app_workers_wanted"
	appReady     = "muster_app_workers_ready"
	appReloads   = "muster_app_reloads_total"
	workerState  = "muster_worker_state"
	workerGen    = "muster_worker_generation"
	restarts     = "muster_worker_restarts_total"
	workerCPU    = "muster_worker_cpu_ratio"
	workerMemory = "muster_worker_memory_bytes"
	workerProcs  = "muster_worker_processes"
	workerStart  = "muster_worker_start_time_seconds"
	events       = "muster_events_total"
	outputLines  = "muster_output_lines_total"
	outputBytes  = "muster_output_bytes_total"
	outputLost   = "muster_output_lost_lines_total"
	agentStarts  = "muster_agent_starts_total"
	channels     = "muster_channels_adopted_total"
	frames       = "muster_channel_frames_total"
	messages     = "muster_messages_total"
	connections  = "muster_connections_total"
	waiting      = "muster_connections_waiting"
)

// table declares every metric, in the order of Reference.
func table() []metric {
	return append([]metric{
		{agentInfo, "The agent and its release; always 1.", gauge, []string{"version"}},
		{agentStarts, "Agents since muster was started, this one included: more than 1 after a crash or an upgrade.", counter, nil},
		{appStatus, "1 for the app's present state (Healthy, Degraded, Reloading, Recovering, Failed, Stopped), 0 for the others.", gauge, []string{"app", "status"}},
		{appWanted, "Workers the app should have.", gauge, []string{"app"}},
		{appReady, "Workers that are ready.", gauge, []string{"app"}},
		{appReloads, "Reloads by how they ended (done, failed, aborted), since the agent started.", counter, []string{"app", "outcome"}},
		{workerState, "1 for the worker's present state (starting, ready, draining, stopping, stopped, backoff, failed), 0 for the others.", gauge, []string{"app", "slot", "state"}},
		{workerGen, "Generation that the worker belongs to; grows with each reload.", gauge, []string{"app", "slot"}},
		{restarts, "Restarts that nobody asked for, over the life of the slot.", counter, []string{"app", "slot"}},
		{workerCPU, "CPU use of the worker's processes since the last look; 1 is one core.", gauge, []string{"app", "slot"}},
		{workerMemory, "Memory of the worker's processes.", gauge, []string{"app", "slot"}},
		{workerProcs, "Processes of the worker.", gauge, []string{"app", "slot"}},
		{workerStart, "Start of the worker's process, in seconds since 1970; absent while it has none.", gauge, []string{"app", "slot"}},
		{events, "Events by type, since the agent started.", counter, []string{"type"}},
		{outputLines, "Lines that workers printed, since the agent started.", counter, []string{"app", "stream"}},
		{outputBytes, "Bytes in these lines.", counter, []string{"app"}},
		{outputLost, "Lines that the log target did not get because it failed.", counter, []string{"app"}},
		{channels, "Channels of workers that this agent took over: whole, or torn, so that the worker was replaced.", counter, []string{"state"}},
		{messages, "Messages of users' code, since the agent started: heard from workers, carried to workers, and refused as a worker could not get them.", counter, []string{"kind"}},
		{connections, "Connections of listeners that muster deals or guards: accepted by muster, dealt to workers, offered again as a worker had died, refused by a worker, rescued from behind a dead or blocked one.", counter, []string{"app", "listener", "kind"}},
		{waiting, "Connections of these listeners that wait for a worker.", gauge, []string{"app", "listener"}},
		{frames, "Frames from workers, since the agent started: commands that were understood, what nobody listens to, and odd ones of Node.js workers that nobody asked for.", counter, []string{"kind"}},
	}, operationsTable()...)
}

// descriptors makes Prometheus's form of the table.
func descriptors() map[string]*prometheus.Desc {
	all := map[string]*prometheus.Desc{}
	for _, d := range table() {
		all[d.name] = prometheus.NewDesc(d.name, d.help, append([]string{"project", "node"}, d.labels...), nil)
	}
	return all
}

// Reference lists every metric as a Markdown table. Beside these, the agent
// reports the usual process_* metrics of itself.
func Reference() string {
	var b strings.Builder
	b.WriteString("| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n")
	for _, d := range table() {
		kind := "gauge"
		if d.kind == counter {
			kind = "counter"
		}
		labels := append([]string{"project", "node"}, d.labels...)
		b.WriteString("| `" + d.name + "` | " + kind + " | " + strings.Join(labels, ", ") + " | " + d.help + " |\n")
	}
	return b.String()
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(c chan<- *prometheus.Desc) {
	for _, d := range descriptors() {
		c <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(c chan<- prometheus.Metric) {
	s := m.opts.Status()
	w := &scrape{out: c, descs: descriptors(), kinds: map[string]prometheus.ValueType{}, prefix: []string{s.Project, s.Node}}
	for _, d := range table() {
		w.kinds[d.name] = d.kind
	}
	w.send(agentInfo, 1, s.Version)
	w.send(agentStarts, float64(max(s.AgentStarts, 1)))
	for _, app := range s.Apps {
		w.app(app)
	}
	m.counted(w)
	if m.opts.Output != nil {
		for _, o := range m.opts.Output() {
			w.send(outputLines, float64(o.Stdout), o.App, "stdout")
			w.send(outputLines, float64(o.Stderr), o.App, "stderr")
			w.send(outputBytes, float64(o.Bytes), o.App)
			w.send(outputLost, float64(o.Lost), o.App)
		}
	}
	if m.opts.Channels != nil {
		w.channels(m.opts.Channels())
	}
	if m.opts.Doors != nil {
		for _, d := range m.opts.Doors() {
			w.door(d)
		}
	}
	if m.opts.Operations != nil {
		w.operations(m.opts.Operations())
	}
}

func (w *scrape) channels(c Channels) {
	w.counts(channels, map[string]uint64{"whole": c.Adopted, "torn": c.Torn})
	w.counts(frames, map[string]uint64{"command": c.Commands, "unheard": c.Unheard, "odd": c.Odd})
	w.counts(messages, map[string]uint64{"heard": c.Heard, "carried": c.Carried, "refused": c.Refused})
}

func (w *scrape) door(d Door) {
	for _, c := range []struct {
		kind  string
		count uint64
	}{{"accepted", d.Accepted}, {"dealt", d.Dealt}, {"again", d.Again}, {"refused", d.Refused}, {"rescued", d.Rescued}} {
		w.send(connections, float64(c.count), d.App, d.Listener, c.kind)
	}
	w.send(waiting, float64(d.Waiting), d.App, d.Listener)
}

// counted sends what the events said.
func (m *Metrics) counted(w *scrape) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, kind := range slices.Sorted(maps.Keys(m.events)) {
		w.send(events, float64(m.events[kind]), kind)
	}
	for key, n := range m.reloads {
		w.send(appReloads, float64(n), key[0], key[1])
	}
	for key, n := range m.notes {
		w.send(notifications, float64(n), key[0], key[1])
	}
}

// scrape is one answer in the making.
type scrape struct {
	out    chan<- prometheus.Metric
	descs  map[string]*prometheus.Desc
	kinds  map[string]prometheus.ValueType
	prefix []string // project, node
}

func (w *scrape) send(name string, value float64, labels ...string) {
	labels = append(w.prefix[:len(w.prefix):len(w.prefix)], labels...)
	for i := range labels {
		labels[i] = strings.ToValidUTF8(labels[i], "\ufffd")
	}
	w.out <- prometheus.MustNewConstMetric(w.descs[name], w.kinds[name], value, labels...)
}

func (w *scrape) app(a api.App) {
	for _, h := range []event.Health{
		event.Healthy, event.Degraded, event.Reloading, event.Recovering, event.AppFailed, event.AppStopped,
	} {
		w.send(appStatus, truth(a.Status == h), a.Name, string(h))
	}
	w.send(appWanted, float64(a.Wanted), a.Name)
	w.send(appReady, float64(a.Ready), a.Name)
	for _, one := range latest(a.Workers) {
		w.worker(one)
	}
}

// latest keeps one worker per slot, that of the latest generation.
func latest(workers []api.Worker) map[int]api.Worker {
	slots := map[int]api.Worker{}
	for _, one := range workers {
		if have, ok := slots[one.Slot]; !ok || one.Generation > have.Generation {
			slots[one.Slot] = one
		}
	}
	return slots
}

func (w *scrape) worker(one api.Worker) {
	slot := strconv.Itoa(one.Slot)
	for _, s := range []event.State{
		event.Starting, event.Ready, event.Draining, event.Stopping, event.Stopped, event.Backoff, event.Failed,
	} {
		w.send(workerState, truth(one.State == s), one.App, slot, string(s))
	}
	w.send(workerGen, float64(one.Generation), one.App, slot)
	w.send(restarts, float64(one.Restarts), one.App, slot)
	w.send(workerCPU, one.CPU/100, one.App, slot)
	w.send(workerMemory, float64(one.Memory), one.App, slot)
	w.send(workerProcs, float64(one.Processes), one.App, slot)
	if one.StartedAt != nil && one.PID != 0 {
		w.send(workerStart, float64(one.StartedAt.UnixNano())/1e9, one.App, slot)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
