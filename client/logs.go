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
// ends (nil), the context does (a fault), or f returns an error (that one).
// A reader that is too slow loses records and finds their number in
// api.Record.Lost.
func (c *Client) Logs(ctx context.Context, o LogOptions, f func(api.Record) error) error {
	answer, err := c.stream(ctx, call{method: http.MethodGet, path: "/v1/logs", query: o.query()})
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	from := &source{Reader: answer.Body}
	records := json.NewDecoder(from)
	for {
		var r api.Record
		err := records.Decode(&r)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case from.broken(err):
			return c.broken(ctx, err)
		case err != nil:
			return fault.New(fault.Internal, "cannot read a record: %w", err)
		}
		if err := f(r); err != nil {
			return err
		}
	}
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
