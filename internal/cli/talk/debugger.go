package talk

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/fault"
)

// Debugger is the open debugger of a Node.js worker.
type Debugger struct {
	Worker string `json:"worker"`
	PID    int    `json:"pid"`
	// URL is what clients of the protocol take: ws://127.0.0.1:9230/…
	URL string `json:"url"`
	// Address is host:port, for `node inspect` and chrome://inspect.
	Address string `json:"address"`
}

// What Node.js prints on stderr.
var (
	listening = regexp.MustCompile(`^Debugger listening on (ws://\S+)`)
	refused   = regexp.MustCompile(`^Starting inspector on (\S+) failed: (.*)`)
)

// errFound ends the reading of output.
var errFound = errors.New("the debugger is open")

// Inspect opens the debugger of one worker, which must run Node.js, and waits for
// its address until ctx ends. One that is open already stays as it is.
func Inspect(ctx context.Context, c *client.Client, selector string) (Debugger, error) {
	w, err := node(ctx, c, selector)
	if err != nil {
		return Debugger{}, err
	}
	d := Debugger{Worker: selector, PID: w.PID}
	past := client.LogOptions{Selector: selector, Lines: -1, Stream: "stderr"}
	if err := c.Logs(ctx, past, func(r api.Record) error { d.read(r); return nil }); err != nil {
		return d, err
	}
	if d.URL != "" && d.answers() {
		return d, nil
	}
	d.URL, d.Address = "", ""
	since := time.Now()
	out, err := c.Signal(ctx, api.Order{Selector: selector, Signal: "SIGUSR1"})
	if err == nil && out.Fault() != nil {
		err = out.Fault()
	}
	if err != nil {
		return d, err
	}
	return d.await(ctx, c, client.LogOptions{Selector: selector, Lines: -1, Stream: "stderr", Since: since, Follow: true})
}

// await reads the worker's output until it names the debugger's address.
func (d Debugger) await(ctx context.Context, c *client.Client, o client.LogOptions) (Debugger, error) {
	err := c.Logs(ctx, o, func(r api.Record) error {
		if f := d.read(r); f != nil {
			return f
		}
		if d.URL != "" {
			return errFound
		}
		return nil
	})
	switch {
	case errors.Is(err, errFound):
		return d, nil
	case fault.CodeOf(err) == fault.Timeout:
		return d, fault.New(fault.Timeout, "%s has not said where its debugger listens", d.Worker).At(d.Worker).
			WithFix("its event loop may be blocked, or it has a listener of its own for SIGUSR1; look at `muster logs " + d.Worker + "`")
	case err == nil:
		err = fault.New(fault.NotRunning, "%s has ended", d.Worker).At(d.Worker)
	}
	return d, err
}

// read takes what a line of the worker says about its debugger.
func (d *Debugger) read(r api.Record) *fault.Fault {
	if r.PID != d.PID {
		return nil
	}
	if m := listening.FindStringSubmatch(r.Line); m != nil {
		if u, err := url.Parse(m[1]); err == nil {
			d.URL, d.Address = m[1], u.Host
		}
	}
	if m := refused.FindStringSubmatch(r.Line); m != nil {
		return fault.New(fault.PortInUse, "its debugger cannot listen on %s: %s", m[1], m[2]).At(d.Worker).
			WithFix("another debugger has that port: close it, or give each worker a port of its own with --inspect-port=0 in its command")
	}
	return nil
}

// answers: somebody listens where the debugger was opened before.
func (d Debugger) answers() bool {
	conn, err := net.DialTimeout("tcp", d.Address, time.Second)
	if err != nil {
		return !errors.Is(err, syscall.ECONNREFUSED) // it may listen where we cannot reach it
	}
	conn.Close()
	return true
}

// node finds the worker that a selector names: exactly one, that runs, and is
// Node.js. The signal would end any other program.
func node(ctx context.Context, c *client.Client, selector string) (api.Worker, error) {
	name, slot, one := strings.Cut(selector, "#")
	n, err := strconv.Atoi(slot)
	if !one || err != nil {
		return api.Worker{}, fault.New(fault.Usage, "%q is no worker", selector).WithFix("name one: " + name + "#0")
	}
	status, err := c.Status(ctx)
	if err != nil {
		return api.Worker{}, err
	}
	for _, app := range status.Apps {
		for _, w := range app.Workers {
			if app.Name == name && w.Slot == n && w.PID != 0 {
				return w, isNode(selector, w)
			}
		}
	}
	for _, app := range status.Apps {
		if app.Name == name && n < app.Wanted {
			return api.Worker{}, fault.New(fault.NotRunning, "%s does not run", selector).At(selector)
		}
	}
	return api.Worker{}, fault.New(fault.NoApp, "there is no worker %s", selector)
}

func isNode(name string, w api.Worker) error {
	exe, err := os.Readlink("/proc/" + strconv.Itoa(w.PID) + "/exe")
	program := strings.TrimSuffix(filepath.Base(exe), " (deleted)")
	if w.Node != nil || err == nil && (program == "node" || program == "nodejs") {
		return nil
	}
	f := fault.New(fault.Usage, "%s (pid %d) is no Node.js program", name, w.PID)
	if err == nil {
		f = fault.New(fault.Usage, "%s (pid %d) is no Node.js program, but %s", name, w.PID, program)
	}
	return f.At(name).WithFix("only Node.js opens a debugger when asked; other programs would end by the signal")
}
