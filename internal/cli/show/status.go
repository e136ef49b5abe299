package show

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// reasonLines is how many last lines of a failed worker `status` shows.
const reasonLines = 3

// Status draws a status for people.
type Status struct {
	Printer *Printer
	Now     time.Time
	// Wide shows all last lines of a failed worker.
	Wide bool
}

// Projects is one row for each agent.
func (v Status) Projects(list []api.Status) {
	t := Table{Columns: []Column{{"PROJECT", 0}, {"STATUS", 0}, {"APPS", 5}, {"WORKERS", 6}, {"KEEPER", 4}, {"AGENT", 4}, {"UPTIME", 3}, {"FILE", 2}}}
	for _, st := range list {
		ready, wanted := 0, 0
		for _, a := range st.Apps {
			ready, wanted = ready+a.Ready, wanted+a.Wanted
		}
		t.Add(st.Project, v.Worst(st.Apps), fmt.Sprint(len(st.Apps)), fmt.Sprintf("%d/%d", ready, wanted),
			pidOrDash(st.KeeperPID), fmt.Sprint(st.AgentPID), Age(v.Now.Sub(st.StartedAt)), st.File)
	}
	t.Write(v.Printer)
}

// Worst is the human state of all apps together, in its colour.
func (v Status) Worst(apps []api.App) string {
	worst := event.Healthy
	for _, a := range apps {
		if rank(a.Status) > rank(worst) {
			worst = a.Status
		}
	}
	return v.health(worst)
}

func pidOrDash(pid int) string {
	if pid == 0 {
		return "-"
	}
	return fmt.Sprint(pid)
}

// Muster is one line about muster itself.
func (v Status) Muster(st api.Status) {
	text := fmt.Sprintf("agent %d (%s, %s)", st.AgentPID, st.Version, Age(v.Now.Sub(st.AgentStartedAt)))
	if st.KeeperPID == 0 {
		text += " without a keeper"
	} else {
		text += fmt.Sprintf(", keeper %d (%s)", st.KeeperPID, Age(v.Now.Sub(st.StartedAt)))
	}
	if st.AgentStarts > 1 {
		text += fmt.Sprintf(", %d agents since", st.AgentStarts)
	}
	if u := st.Upgrade; u != nil {
		text += fmt.Sprintf(", upgrade from %s to %s %s ago", u.From, u.To, Age(v.Now.Sub(u.Time)))
		if u.Fault != nil {
			text += " failed: " + u.Fault.Text
		}
	}
	v.Printer.Line("%s", v.Printer.Paint(Dim, text))
}

// rank orders human states, worst last. What was stopped on purpose is fine.
func rank(h event.Health) int {
	switch h {
	case event.Healthy, event.AppStopped:
		return 0
	case event.Reloading:
		return 1
	case event.Recovering:
		return 2
	case event.Degraded:
		return 3
	case event.AppFailed:
		return 4
	}
	return 0
}

// Apps is one row for each app.
func (v Status) Apps(apps []api.App) {
	t := Table{Columns: []Column{
		{"APP", 0},
		{"STATUS", 0},
		{"WORKERS", 9},
		{"HEALTH", 5},
		{"CPU", 4},
		{"MEM", 6},
		{"RESTARTS", 7},
		{"UPTIME", 8},
		{"PORTS", 3},
	}}
	for _, a := range apps {
		t.Add(a.Name, v.appStatus(a), v.workerCount(a), appHealth(a), appCPU(a), appMemory(a),
			v.restarts(a.Workers), v.uptime(a.Workers), strings.Join(ports(a), " "))
	}
	t.Write(v.Printer)
}

// appStatus is the human state; a task that has ended well is Completed.
func (v Status) appStatus(a api.App) string {
	if a.Type == spec.Task && a.Status == event.AppStopped && len(a.Workers) == 1 {
		if e := a.Workers[0].LastExit; e != nil && e.Code == 0 {
			return v.Printer.Paint(Green, "Completed")
		}
	}
	return v.health(a.Status)
}

func (v Status) health(h event.Health) string {
	i := Yellow
	switch h {
	case event.Healthy:
		i = Green
	case event.AppFailed:
		i = Red
	case event.AppStopped:
		i = Dim
	case event.Degraded, event.Reloading, event.Recovering:
	}
	return v.Printer.Paint(i, string(h))
}

func (v Status) workerCount(a api.App) string {
	text := fmt.Sprintf("%d/%d", a.Ready, a.Wanted)
	if a.Reload != nil {
		text += fmt.Sprintf(" (reload %d/%d)", a.Reload.Done, a.Reload.Total)
	}
	if a.Type == spec.Task {
		text = "task"
	}
	return text
}

// appHealth is the worst verdict among the workers.
func appHealth(a api.App) string {
	worst := ""
	for _, w := range a.Workers {
		switch {
		case w.Health == "failing", worst == "":
			worst = w.Health
		case w.Health == "starting" && worst == "ok":
			worst = w.Health
		}
	}
	return worst
}

func appCPU(a api.App) string {
	total, alive := 0.0, false
	for _, w := range a.Workers {
		total, alive = total+w.CPU, alive || w.PID > 0
	}
	return percent(total, alive)
}

func percent(v float64, alive bool) string {
	if !alive {
		return ""
	}
	return fmt.Sprintf("%.1f%%", v)
}

func appMemory(a api.App) string {
	var total int64
	for _, w := range a.Workers {
		total += w.Memory
	}
	return memory(total)
}

func memory(n int64) string {
	if n == 0 {
		return ""
	}
	return Size(n)
}

// restarts is "5 (2m ago)".
func (v Status) restarts(workers []api.Worker) string {
	total, last := 0, time.Time{}
	slots := map[int]bool{}
	for _, w := range workers {
		if !slots[w.Slot] { // a reload lists a slot twice
			total += w.Restarts
		}
		slots[w.Slot] = true
		if w.LastRestart != nil && w.LastRestart.After(last) {
			last = *w.LastRestart
		}
	}
	if total == 0 || last.IsZero() {
		return fmt.Sprint(total)
	}
	return fmt.Sprintf("%d (%s ago)", total, Age(v.Now.Sub(last)))
}

// uptime is that of the youngest process.
func (v Status) uptime(workers []api.Worker) string {
	var youngest time.Time
	for _, w := range workers {
		if w.PID > 0 && w.StartedAt != nil && w.StartedAt.After(youngest) {
			youngest = *w.StartedAt
		}
	}
	if youngest.IsZero() {
		return ""
	}
	return Age(v.Now.Sub(youngest))
}

// ports are the addresses of an app, short: the listeners', those that Node.js
// workers have asked for, then those that the workers bind themselves, with runs of
// numbers as :8000-8007.
func ports(a api.App) []string {
	all := slices.Clone(a.Listen)
	for _, w := range a.Workers {
		if w.Node != nil {
			all = append(all, w.Node.Listening...)
		}
	}
	var list []string
	for _, l := range all {
		l, _, _ = strings.Cut(l, " (") // the balance follows
		if text := shortAddress(l); !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	var own []int
	for _, w := range a.Workers {
		own = slices.AppendSeq(own, maps.Values(w.Ports))
	}
	slices.Sort(own)
	own = slices.Compact(own)
	for len(own) > 0 {
		n := 1
		for n < len(own) && own[n] == own[0]+n {
			n++
		}
		text := fmt.Sprintf(":%d", own[0])
		if n > 1 {
			text += fmt.Sprintf("-%d", own[n-1])
		}
		list = append(list, text)
		own = own[n:]
	}
	return list
}

// shortAddress drops what goes without saying: tcp://0.0.0.0:80 is :80.
func shortAddress(l string) string {
	for _, prefix := range []string{"tcp://", "tcp4://", "tcp6://", "unix://"} {
		l = strings.TrimPrefix(l, prefix)
	}
	for _, every := range []string{"0.0.0.0:", "[::]:"} {
		if rest, ok := strings.CutPrefix(l, every); ok {
			return ":" + rest
		}
	}
	return l
}

// Workers is one row for each worker.
func (v Status) Workers(apps []api.App) {
	t := Table{Columns: []Column{
		{"WORKER", 0},
		{"STATE", 0},
		{"PID", 9},
		{"HEALTH", 5},
		{"CPU", 4},
		{"MEM", 6},
		{"RESTARTS", 7},
		{"UPTIME", 8},
		{"RELEASE", 3},
		{"PORTS", 2},
		{"SAYS", 1},
	}}
	for _, a := range apps {
		for _, w := range a.Workers {
			one := []api.Worker{w}
			t.Add(WorkerName(w.App, w.Slot), v.state(w.State), pid(w.PID), w.Health, percent(w.CPU, w.PID > 0),
				memory(w.Memory), v.restarts(one), v.uptime(one), w.Release,
				strings.Join(ports(api.App{Workers: one}), " "), w.StatusText)
		}
	}
	t.Write(v.Printer)
}

func pid(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func (v Status) state(st event.State) string {
	i := Yellow
	switch st {
	case event.Ready:
		i = Green
	case event.Failed:
		i = Red
	case event.Stopped:
		i = Dim
	case event.Starting, event.Draining, event.Stopping, event.Backoff:
	}
	return v.Printer.Paint(i, string(st))
}

// Applied is the table after an order, and what of the order has no effect yet.
func (v Status) Applied(apps []api.App) {
	v.Apps(apps)
	for _, a := range apps {
		for _, f := range a.Warnings {
			if f.Code == fault.BalanceKept {
				v.Printer.Printf("%s %s\n", v.Printer.Paint(Yellow, "warning:"), warningText(a.Name, f))
			}
		}
	}
}

// Reasons says below the table why something is not well.
func (v Status) Reasons(apps []api.App) {
	var b strings.Builder
	for _, a := range apps {
		before := b.Len()
		for _, w := range a.Workers {
			v.reason(&b, w)
		}
		if b.Len() == before && a.Why != "" && rank(a.Status) > 1 {
			fmt.Fprintf(&b, "%s: %s\n", a.Name, a.Why)
		}
		for _, f := range a.Warnings {
			if f.Code != fault.ExitedEarly { // the worker's reason or its restarts say it
				fmt.Fprintf(&b, "%s %s\n", v.Printer.Paint(Yellow, "warning:"), warningText(a.Name, f))
			}
		}
	}
	if b.Len() > 0 {
		v.Printer.Printf("\n%s", b.String())
	}
}

// reason is what is wrong with one worker: why, the last exit, the next try,
// the last lines.
func (v Status) reason(b *strings.Builder, w api.Worker) {
	name := WorkerName(w.App, w.Slot)
	accident := w.LastExit != nil && !w.LastExit.Planned
	switch w.State {
	case event.Backoff, event.Failed:
	case event.Ready:
		if w.Health == "failing" {
			fmt.Fprintf(b, "%s health check fails: %s\n", name, w.HealthText)
		}
		return
	case event.Starting:
		if !accident {
			return
		}
	case event.Draining, event.Stopping, event.Stopped:
		return
	}
	text := because(name+" "+string(w.State), w.Why)
	if accident {
		text += v.lastExit(w)
	}
	if w.Next != nil {
		text += ", next try in " + Age(w.Next.Sub(v.Now))
	}
	b.WriteString(text + "\n")
	for _, line := range v.lastLines(w) {
		fmt.Fprintf(b, "  %s %s\n", v.Printer.Paint(Dim, "|"), line)
	}
}

// lastExit is " (pid 4711 exited with code 1 after 0.2s, 3s ago)".
func (v Status) lastExit(w api.Worker) string {
	e := w.LastExit
	return fmt.Sprintf(" (pid %d %s after %s, %s ago)", e.PID, ended(e.Code, e.Signal), Age(e.Uptime), Age(v.Now.Sub(e.Time)))
}

func (v Status) lastLines(w api.Worker) []string {
	if w.LastExit != nil && len(w.LastExit.Lines) > 0 {
		lines := w.LastExit.Lines
		if !v.Wide {
			lines = lines[max(0, len(lines)-reasonLines):]
		}
		return lines
	}
	if w.LastLine != "" {
		return []string{w.LastLine}
	}
	return nil
}

func warningText(app string, f fault.Fault) string {
	text := f.Error()
	if f.Where == "" {
		text = app + ": " + text
	}
	if f.Fix != "" {
		text += "\n  fix: " + f.Fix
	}
	return text
}
