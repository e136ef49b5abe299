package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
)

// LogOptions choose the records of Logs.
type LogOptions struct {
	// Selector names the apps or workers; "" is "all".
	Selector string
	// Lines of the past of each app; negative: all there are, also in files.
	Lines int
	// Follow goes on with what comes.
	Follow bool
	// Stream is "stdout", "stderr" or "" for both.
	Stream string
	// Since leaves out what is older; zero: nothing.
	Since time.Time
}

func (o LogOptions) query() url.Values {
	q := url.Values{"selector": {o.Selector}, "n": {strconv.Itoa(o.Lines)}}
	if o.Selector == "" {
		q.Set("selector", "all")
	}
	if o.Follow {
		q.Set("follow", "1")
	}
	if o.Stream != "" {
		q.Set("stream", o.Stream)
	}
	if !o.Since.IsZero() {
		q.Set("since", o.Since.Format(time.RFC3339Nano))
	}
	return q
}

// Logs calls f for each record, oldest first, from one goroutine. Without
// Follow it returns after the last record of the past; with it, when the agent
// ends (nil), the context does (a fault), or f returns an error (that one). When
// the agent goes away and another takes over (Options.Alive), it goes on with
// that one, where it was. A reader that is too slow loses records and finds their
// number in api.Record.Lost.
func (c *Client) Logs(ctx context.Context, o LogOptions, f func(api.Record) error) error {
	if !o.Follow || c.options.Alive == nil {
		_, err := c.readLogs(ctx, o, f)
		return err
	}
	r := &resumption{began: time.Now().Truncate(time.Millisecond), seen: map[printer]place{}}
	for {
		opened, err := c.readLogs(ctx, o, func(record api.Record) error {
			if !r.isNew(record) {
				return nil
			}
			if err := f(record); err != nil {
				return errCallback{err}
			}
			return nil
		})
		var own errCallback
		switch {
		case errors.As(err, &own):
			return own.error
		case fault.CodeOf(err) != fault.AgentUnreachable, !opened, !c.options.Alive(), !c.rest(ctx):
			return err
		}
		o.Lines, o.Since = -1, r.resume()
	}
}

// readLogs reads one stream. opened: an agent has answered.
func (c *Client) readLogs(ctx context.Context, o LogOptions, f func(api.Record) error) (opened bool, err error) {
	answer, err := c.stream(ctx, call{method: http.MethodGet, path: "/v1/logs", query: o.query()})
	if err != nil {
		return false, err
	}
	defer answer.Body.Close()
	from := &source{Reader: answer.Body}
	records := json.NewDecoder(from)
	for {
		var r api.Record
		err := records.Decode(&r)
		switch {
		case errors.Is(err, io.EOF):
			return true, nil
		case from.broken(err):
			return true, c.broken(ctx, err)
		case err != nil:
			return true, fault.New(fault.Internal, "cannot read a record: %w", err)
		}
		if err := f(r); err != nil {
			return true, err
		}
	}
}

// resumption knows what a follower has seen, so that what the next agent tells of
// the past is not told twice.
type resumption struct {
	began time.Time // all times are cut to what a log file tells
	again bool      // this is not the first stream
	seen  map[printer]place
	told  map[printer]int // of this stream, at the time of the place
}

// printer is one stream of one worker: its records are in order of time.
type printer struct {
	app, stream string
	slot        int
}

// place is the time of a printer's latest record, and how many have that time.
type place struct {
	at    time.Time
	count int
}

// resume begins another stream and returns since when.
func (r *resumption) resume() time.Time {
	r.again, r.told = true, map[printer]int{}
	since := r.began
	for _, p := range r.seen {
		if p.at.Before(since) {
			since = p.at
		}
	}
	return since
}

// isNew says whether a record has not been told yet, and notes it.
func (r *resumption) isNew(record api.Record) bool {
	key := printer{record.App, record.Stream, record.Slot}
	at := record.Time.Truncate(time.Millisecond)
	last, known := r.seen[key]
	if r.again {
		switch {
		case !known && at.Before(r.began), known && at.Before(last.at):
			return false
		case known && at.Equal(last.at) && r.told[key] < last.count:
			r.told[key]++
			return false
		}
	}
	if !known || !at.Equal(last.at) {
		last = place{at: at}
		delete(r.told, key)
	}
	last.count++
	if r.again {
		r.told[key]++
	}
	r.seen[key] = last
	return true
}

// source tells errors of reading from errors in what was read.
type source struct {
	io.Reader
	err error
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (n int, err error) {
	n, err = s.Reader.Read(p)
	s.err = err
	return n, err
}

func (s *source) broken(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || s.err != nil && errors.Is(err, s.err)
}
