package metrics

import (
	"context"
	"io"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func status() api.Status {
	started := time.Unix(1_700_000_000, 500_000_000)
	return api.Status{
		Project: "shop", Node: "n1", Version: "1.2.3", AgentPID: 1,
		Apps: []api.App{
			{Name: "web", Status: event.Degraded, Wanted: 3, Ready: 2, Workers: []api.Worker{
				{App: "web", Slot: 0, PID: 10, State: event.Draining, Generation: 1, Restarts: 1},
				{App: "web", Slot: 0, PID: 11, State: event.Ready, Generation: 2, Restarts: 5, CPU: 150, Memory: 1 << 20, Processes: 3, StartedAt: &started},
				{App: "web", Slot: 1, State: event.Backoff, Generation: 2, StartedAt: &started},
			}},
			{Name: "od\"d\n\xff", Status: event.AppStopped},
		},
	}
}

func full() *Metrics {
	hub := new(event.Hub)
	m := New(Options{Status: status, Hub: hub, Output: func() []Output {
		return []Output{{App: "web", Stdout: 7, Stderr: 3, Bytes: 99, Lost: 2}}
	}, Channels: func() Channels {
		return Channels{Adopted: 4, Torn: 1, Commands: 8, Unheard: 5, Heard: 11, Carried: 12, Refused: 13}
	}, Doors: func() []Door {
		return []Door{{App: "web", Listener: "tcp://:80", Accepted: 21, Dealt: 22, Again: 23, Refused: 24, Rescued: 25, Waiting: 26}}
	}, Operations: func() Operations {
		return Operations{
			Parties: 31, Joined: 32, InUse: map[string]int{"locks": 33}, Ended: map[string]uint64{"answered": 34},
			Heard: map[string]uint64{"doubtful": 35}, Sent: map[string]uint64{"missed": 36}, Damaged: 37,
		}
	}})
	for _, d := range []event.Notified{
		{Notifier: "ops", Occasion: "crash"},
		{Notifier: "ops", Occasion: "crash", Held: 5},
		{Notifier: "ops", Occasion: "crash", Fault: fault.New(fault.NotifyFailed, "no"), Held: 2},
	} {
		hub.Publish(event.Event{Data: d})
	}
	hub.Publish(event.Event{Data: event.AgentStarted{}})
	for _, phase := range []event.ReloadPhase{
		event.ReloadQueued, event.ReloadRunning, event.ReloadDone, event.ReloadDone, event.ReloadReverting, event.ReloadFailed,
	} {
		hub.Publish(event.Event{App: "web", Data: event.Reload{Phase: phase}})
	}
	hub.Close() // so that Run ends with the last event
	if err := m.Run(context.Background()); err != nil {
		panic(err)
	}
	return m
}

func scrapeText(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	b, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != 200 {
		t.Fatal(w.Code, err)
	}
	return string(b)
}

func TestScrape(t *testing.T) {
	text := scrapeText(t, full())
	for _, want := range []string{
		`muster_agent_info{node="n1",project="shop",version="1.2.3"} 1`,
		`muster_connections_total{app="web",kind="again",listener="tcp://:80",node="n1",project="shop"} 23`,
		`muster_connections_total{app="web",kind="rescued",listener="tcp://:80",node="n1",project="shop"} 25`,
		`muster_connections_waiting{app="web",listener="tcp://:80",node="n1",project="shop"} 26`,
		`muster_parties{node="n1",project="shop",state="present"} 31`,
		`muster_parties{node="n1",project="shop",state="joined"} 32`,
		`muster_operations_in_use{kind="locks",node="n1",project="shop"} 33`,
		`muster_requests_total{node="n1",outcome="answered",project="shop"} 34`,
		`muster_operations_heard_total{kind="doubtful",node="n1",project="shop"} 35`,
		`muster_operations_sent_total{kind="missed",node="n1",project="shop"} 36`,
		`muster_ledger_damaged_bytes{node="n1",project="shop"} 37`,
		`muster_notifications_total{node="n1",notifier="ops",outcome="delivered",project="shop"} 2`,
		`muster_notifications_total{node="n1",notifier="ops",outcome="failed",project="shop"} 1`,
		`muster_notifications_total{node="n1",notifier="ops",outcome="held",project="shop"} 7`,
		`muster_messages_total{kind="heard",node="n1",project="shop"} 11`,
		`muster_messages_total{kind="carried",node="n1",project="shop"} 12`,
		`muster_messages_total{kind="refused",node="n1",project="shop"} 13`,
		`muster_app_status{app="web",node="n1",project="shop",status="Degraded"} 1`,
		`muster_app_status{app="web",node="n1",project="shop",status="Healthy"} 0`,
		`muster_app_workers_wanted{app="web",node="n1",project="shop"} 3`,
		`muster_app_workers_ready{app="web",node="n1",project="shop"} 2`,
		`muster_worker_state{app="web",node="n1",project="shop",slot="0",state="ready"} 1`,
		`muster_worker_state{app="web",node="n1",project="shop",slot="0",state="draining"} 0`,
		`muster_worker_state{app="web",node="n1",project="shop",slot="1",state="backoff"} 1`,
		`muster_worker_generation{app="web",node="n1",project="shop",slot="0"} 2`,
		`muster_worker_restarts_total{app="web",node="n1",project="shop",slot="0"} 5`,
		`muster_worker_cpu_ratio{app="web",node="n1",project="shop",slot="0"} 1.5`,
		`muster_worker_memory_bytes{app="web",node="n1",project="shop",slot="0"} 1.048576e+06`,
		`muster_worker_processes{app="web",node="n1",project="shop",slot="0"} 3`,
		`muster_worker_start_time_seconds{app="web",node="n1",project="shop",slot="0"} 1.7000000005e+09`,
		`muster_app_reloads_total{app="web",node="n1",outcome="done",project="shop"} 2`,
		`muster_app_reloads_total{app="web",node="n1",outcome="failed",project="shop"} 1`,
		`muster_events_total{node="n1",project="shop",type="agent.started"} 1`,
		`muster_events_total{node="n1",project="shop",type="reload"} 6`,
		`muster_output_lines_total{app="web",node="n1",project="shop",stream="stdout"} 7`,
		`muster_output_lines_total{app="web",node="n1",project="shop",stream="stderr"} 3`,
		`muster_output_bytes_total{app="web",node="n1",project="shop"} 99`,
		`muster_output_lost_lines_total{app="web",node="n1",project="shop"} 2`,
		`process_resident_memory_bytes `,
		`process_open_fds `,
		`muster_app_workers_wanted{app="od\"d\n` + "\ufffd" + `",node="n1",project="shop"} 0`,
	} {
		if !strings.Contains(text, want) {
			t.Error("missing:", want)
		}
	}
	for _, never := range []string{`start_time_seconds{app="web",node="n1",project="shop",slot="1"}`, "pid=", "go_goroutines"} {
		if strings.Contains(text, never) {
			t.Error("there is", never)
		}
	}
}

// TestParsesAndLints: Prometheus understands it, and its linter has nothing to say.
func TestParsesAndLints(t *testing.T) {
	text := scrapeText(t, full())
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range table() {
		f := families[d.name]
		if f == nil {
			t.Errorf("%s is declared and not reported", d.name)
			continue
		}
		if f.GetHelp() != d.help {
			t.Errorf("%s: %q", d.name, f.GetHelp())
		}
		if n := len(f.Metric[0].Label); n != len(d.labels)+2 {
			t.Errorf("%s has %d labels", d.name, n)
		}
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

func TestReference(t *testing.T) {
	text := Reference()
	row := regexp.MustCompile("^\\| `muster_[a-z_]+` \\| (gauge|counter) \\| project, node[a-z, ]* \\| [^|]+[.)] \\|$")
	rows := strings.Split(strings.TrimSpace(text), "\n")[2:]
	if len(rows) != len(table()) {
		t.Error(len(rows))
	}
	for _, line := range rows {
		if !row.MatchString(line) {
			t.Errorf("%q", line)
		}
		if strings.Contains(line, "_total`") != strings.Contains(line, "| counter |") {
			t.Errorf("counters end in _total: %q", line)
		}
	}
}

// TestNothingToReport: no apps, no hub, no output.
func TestNothingToReport(t *testing.T) {
	m := New(Options{Status: func() api.Status { return api.Status{} }})
	if text := scrapeText(t, m); !strings.Contains(text, "muster_agent_info{") {
		t.Error(text)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Run(ctx); err != nil {
		t.Error(err)
	}
}

// TestRunGoesOnWhereItStopped counts each event once, over restarts of Run and
// though it is cut off by bursts.
func TestRunGoesOnWhereItStopped(t *testing.T) {
	hub := new(event.Hub)
	m := New(Options{Status: status, Hub: hub})
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { m.Run(ctx) })
	for range 1000 {
		hub.Publish(event.Event{Data: event.WorkerStatus{}})
	}
	cancel()
	group.Wait()
	for range 500 {
		hub.Publish(event.Event{Data: event.WorkerStatus{}})
	}
	hub.Close()
	if err := m.Run(t.Context()); err != nil {
		t.Error(err)
	}
	if !strings.Contains(scrapeText(t, m), `type="worker.status"} 1500`) {
		t.Error("not 1500")
	}
}

// TestConcurrentScrapes beside events.
func TestConcurrentScrapes(t *testing.T) {
	hub := new(event.Hub)
	m := New(Options{Status: status, Hub: hub})
	var group sync.WaitGroup
	group.Go(func() { m.Run(t.Context()) })
	for range 3 {
		group.Go(func() {
			for range 20 {
				scrapeText(t, m)
			}
		})
	}
	for range 5000 {
		hub.Publish(event.Event{App: "web", Data: event.Reload{Phase: event.ReloadDone}})
	}
	hub.Close()
	group.Wait()
}
