package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/output"
)

const (
	// logLines is how much of the past is told where nobody says.
	logLines = 100
	// logBuffer is how many records of one app a follower may fall behind.
	logBuffer = 1024
	// newsBuffer is how many events a follower of logs may fall behind.
	newsBuffer = 64
)

func logParams() []Param {
	return []Param{
		{Name: "selector", Type: "string", Required: true, Text: "The apps or workers."},
		{Name: "n", Type: "integer", Text: "How many records of the past of each app; default 100, below 0 all there are."},
		{Name: "follow", Type: "boolean", Text: "Go on with what comes, also from apps that are added later, until the reader closes. A reader that is too slow loses records and finds their number in `lost`."},
		{Name: "stream", Type: "string", Text: "stdout or stderr; default both."},
		{Name: "since", Type: "string", Text: "Nothing older than this time (RFC 3339) or age (10m)."},
	}
}

// logQuery is what a reader of logs wants.
type logQuery struct {
	selector api.Selector
	text     string // of selector
	lines    int
	follow   bool
	filter   output.Filter
}

func (s *Server) logs(w http.ResponseWriter, r *http.Request) error {
	if s.options.Log == nil {
		return s.notOffered(r.Method, r.URL.Path)
	}
	q, err := readLogQuery(r)
	if err != nil {
		return err
	}
	t := &tail{server: s, query: q, records: make(chan api.Record), seen: map[*output.Log]bool{}}
	t.ending = connOf(r.Context()).end.Done()
	t.ctx, t.cancel = context.WithCancel(r.Context())
	defer t.close()
	past, err := t.begin()
	if err != nil {
		return err
	}
	defer s.beginStream(w, r, "application/x-ndjson")()
	if r.Method == http.MethodHead {
		return nil
	}
	t.to = records{w: w}
	if t.tell(past) == nil && q.follow {
		t.pump()
	}
	return nil
}

func readLogQuery(r *http.Request) (logQuery, error) {
	values := r.URL.Query()
	q := logQuery{text: values.Get("selector"), lines: logLines}
	if q.text == "" {
		return q, noSelector()
	}
	var err error
	if q.selector, err = api.ParseSelector(q.text); err != nil {
		return q, err
	}
	if text := values.Get("n"); text != "" {
		if q.lines, err = strconv.Atoi(text); err != nil {
			return q, fault.New(fault.Usage, "n is %q", text).WithFix("give a number of lines")
		}
	}
	if q.follow, err = boolParam(r, "follow", false); err != nil {
		return q, err
	}
	switch text := values.Get("stream"); text {
	case "":
	case "stdout", "stderr":
		q.filter.Streams = []string{text}
	default:
		return q, fault.New(fault.Usage, "stream is %q", text).WithFix("give stdout or stderr")
	}
	q.filter.Since, err = readSince(values.Get("since"))
	return q, err
}

// readSince reads a time or an age; "" is the zero time.
func readSince(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if age, err := time.ParseDuration(text); err == nil && age >= 0 {
		return time.Now().Add(-age), nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return at, fault.New(fault.Usage, "since is %q", text).WithFix("give a time such as 2026-01-31T12:00:00Z or an age such as 10m")
	}
	return at, nil
}

// tail reads the logs of all apps that are selected. Each has a goroutine that
// first feeds its past, then what its follower hears; all end with ctx.
type tail struct {
	server  *Server
	query   logQuery
	ctx     context.Context
	cancel  context.CancelFunc
	ending  <-chan struct{}     // closed when the agent ends
	news    *event.Subscription // tells of apps that are added; only when following
	records chan api.Record     // what followers hear
	running sync.WaitGroup
	seen    map[*output.Log]bool
	to      records
}

// begin starts to read.
func (t *tail) begin() ([]*past, error) {
	if t.query.follow {
		t.news = t.server.options.Events.Subscribe(event.Now, newsBuffer)
	}
	list, found := t.add()
	if !found {
		return nil, fault.New(fault.NoApp, "%q matches no app", t.query.text)
	}
	return list, nil
}

// close ends what begin started.
func (t *tail) close() {
	t.cancel()
	if t.news != nil {
		t.news.Close()
	}
	t.running.Wait()
}

// past is what an app has printed so far.
type past struct {
	c    chan api.Record // closed after the last one
	head api.Record
}

// add starts to read the logs that are selected and not read yet. found: at
// least one app is selected.
func (t *tail) add() (list []*past, found bool) {
	for _, app := range t.server.options.Status().Apps {
		slots, ok := t.query.selector.Match(app.Target())
		if !ok {
			continue
		}
		found = true
		log := t.server.options.Log(app.Name)
		if log == nil || t.seen[log] {
			continue
		}
		t.seen[log] = true
		filter := t.query.filter
		filter.Slots = slots
		p := &past{c: make(chan api.Record, 64)}
		list = append(list, p)
		t.running.Go(func() { t.read(app.Name, log, filter, p.c) })
	}
	return list, found
}

// read feeds the past of one log, and then follows it.
func (t *tail) read(app string, log *output.Log, filter output.Filter, c chan<- api.Record) {
	if f := t.readPast(app, log, filter, c); f != nil {
		t.forward(f)
	}
}

// readPast feeds the past. What goes wrong is told as a record: the answer has
// begun already.
func (t *tail) readPast(app string, log *output.Log, filter output.Filter, c chan<- api.Record) (f *output.Follower) {
	defer close(c)
	feed := func(r api.Record) error {
		select {
		case c <- r:
			return nil
		case <-t.ctx.Done():
			return t.ctx.Err()
		}
	}
	failed := func(err error) {
		if t.ctx.Err() == nil {
			_ = feed(api.Record{Time: time.Now(), App: app, Slot: event.NoSlot, Stream: "stderr", Line: "muster: cannot read the log: " + err.Error()})
		}
	}
	defer func() {
		if p := recover(); p != nil {
			failed(t.server.panicked("GET /v1/logs", p))
		}
	}()
	var err error
	if t.query.follow {
		f, err = log.ReadFollow(filter, t.query.lines, logBuffer, feed)
	} else {
		err = log.Read(filter, t.query.lines, feed)
	}
	if err != nil {
		failed(err)
	}
	return f
}

// forward copies what a follower hears until it or t.ctx ends. When the agent
// ends, what is in the follower's buffer is still forwarded.
func (t *tail) forward(f *output.Follower) {
	defer f.Close()
	ending := t.ending
	for {
		select {
		case r, ok := <-f.C:
			if !ok {
				return
			}
			select {
			case t.records <- r:
			case <-t.ctx.Done():
				return
			}
		case <-ending:
			f.Close() // closes f.C behind what is buffered
			ending = nil
		case <-t.ctx.Done():
			return
		}
	}
}

// tell sends the past of several apps, merged by time.
func (t *tail) tell(list []*past) error {
	list = slices.DeleteFunc(list, func(p *past) bool { return !p.next() })
	for len(list) > 0 {
		select {
		case <-t.ending:
			err := t.to.flush()
			t.server.breakOff()
			return err
		default:
		}
		first := slices.MinFunc(list, func(a, b *past) int { return a.head.Time.Compare(b.head.Time) })
		if err := t.to.add(first.head); err != nil {
			return err
		}
		if !first.next() {
			list = slices.DeleteFunc(list, func(p *past) bool { return p == first })
		}
	}
	return t.to.flush()
}

func (p *past) next() (ok bool) {
	p.head, ok = <-p.c
	return ok
}

// pump copies what followers hear until the reader goes away or the agent ends.
func (t *tail) pump() {
	for {
		var err error
		select {
		case r := <-t.records:
			err = t.send(r)
		case e, ok := <-t.news.C:
			err = t.hear(e, ok)
		case <-t.ctx.Done():
			return
		case <-t.ending:
			t.rest()
			t.server.breakOff()
			return
		}
		if err != nil {
			return
		}
	}
}

// send sends a record and those that are there already, up to a bound.
func (t *tail) send(r api.Record) error {
	err := t.to.add(r)
	for n := 1; n < 256 && err == nil; n++ {
		select {
		case r := <-t.records:
			err = t.to.add(r)
		default:
			return t.to.flush()
		}
	}
	return errors.Join(err, t.to.flush())
}

// rest sends what the followers have heard until now.
func (t *tail) rest() {
	told := make(chan struct{})
	go func() { t.running.Wait(); close(told) }() // ends at the latest in close
	for {
		select {
		case r := <-t.records:
			if t.send(r) != nil {
				return
			}
		case <-told:
			return
		}
	}
}

// hear takes in apps that were added. Being cut off from the events may have
// hidden some: then it listens anew, and looks.
func (t *tail) hear(e event.Event, ok bool) error {
	if !ok {
		if !errors.Is(t.news.Err(), event.ErrSlow) {
			t.news.C = nil // the agent ends, and says so by other means
			return nil
		}
		t.news = t.server.options.Events.Subscribe(event.Now, newsBuffer)
	} else if _, applied := e.Data.(event.Applied); !applied {
		return nil
	}
	list, _ := t.add()
	return t.tell(list)
}

// records writes one record a line.
type records struct {
	w    http.ResponseWriter
	text bytes.Buffer
}

// add writes when enough has come together.
func (t *records) add(r api.Record) error {
	j := json.NewEncoder(&t.text)
	j.SetEscapeHTML(false)
	if err := j.Encode(r); err != nil {
		return err
	}
	if t.text.Len() < 32<<10 {
		return nil
	}
	return t.flush()
}

func (t *records) flush() error {
	if t.text.Len() == 0 {
		return nil
	}
	_, err := t.w.Write(t.text.Bytes())
	t.text.Reset()
	if err != nil {
		return err
	}
	return http.NewResponseController(t.w).Flush()
}
