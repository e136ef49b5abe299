package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
)

// maxEventLine bounds one line of the stream, in bytes.
const maxEventLine = 4 << 20

// Events calls f for each event with a sequence number above after, in order,
// from one goroutine: first those that the agent has kept, then new ones.
// event.Now as after means only new ones.
//
// A stream that breaks or is cut off because f was slow is resumed where it
// ended. Events that the agent no longer keeps are then missing, which shows as
// a gap in the sequence; numbers that start again tell of a new agent. Events
// returns nil when the agent has ended properly, a fault when it is gone or the
// context ends, and f's error.
func (c *Client) Events(ctx context.Context, after uint64, f func(event.Event) error) error {
	return (&subscription{client: c, after: after, f: f}).run(ctx)
}

// PastEvents calls f for each event with a sequence number above after that the
// agent has kept, in order, and returns.
func (c *Client) PastEvents(ctx context.Context, after uint64, f func(event.Event) error) error {
	return (&subscription{client: c, after: after, f: f, past: true}).run(ctx)
}

func (s *subscription) run(ctx context.Context) error {
	for {
		progress := s.heard
		ended, err := s.read(ctx)
		if ended || err != nil {
			return err
		}
		if s.heard == progress && !s.client.rest(ctx) {
			return s.client.broken(ctx, ctx.Err())
		}
	}
}

// rest waits before the next try; false when ctx has ended.
func (c *Client) rest(ctx context.Context) bool {
	t := time.NewTimer(c.pause)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// subscription is where a reader of events stands.
type subscription struct {
	client *Client
	after  uint64
	past   bool   // only what is kept
	agent  string // the run of the agent that after counts in
	heard  int    // events passed to f
	f      func(event.Event) error
}

// errCallback marks an error of f, to be passed on as it is.
type errCallback struct{ error }

// read follows one stream. ended: there will be no more events. Neither ended
// nor an error: the stream broke, try again.
func (s *subscription) read(ctx context.Context) (ended bool, err error) {
	streamCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	answer, err := s.open(streamCtx)
	if err != nil {
		return false, err
	}
	defer answer.Body.Close()
	quiet := time.AfterFunc(s.client.silence, cancel)
	defer quiet.Stop()
	alive := func() { quiet.Reset(s.client.silence) }
	ended, err = s.follow(bufio.NewReader(answer.Body), alive)
	var own errCallback
	var bad *fault.Fault
	switch {
	case errors.As(err, &own):
		return false, own.error
	case ended, errors.As(err, &bad):
		return ended, err
	case ctx.Err() != nil:
		return false, s.client.broken(ctx, ctx.Err())
	}
	return false, nil
}

func (s *subscription) open(ctx context.Context) (*http.Response, error) {
	r := call{method: http.MethodGet, path: "/v1/events", header: http.Header{"Accept": {"text/event-stream"}}}
	if s.past {
		r.query = url.Values{"follow": {"0"}}
	}
	if s.after != event.Now {
		r.header.Set("Last-Event-ID", strconv.FormatUint(s.after, 10))
	}
	if s.agent != "" {
		r.header.Set(api.AgentHeader, s.agent)
	}
	answer, err := s.client.stream(ctx, r)
	if err == nil {
		s.agent = answer.Header.Get(api.AgentHeader)
	}
	return answer, err
}

// follow reads messages of the stream until it ends. alive is called at each line.
func (s *subscription) follow(r *bufio.Reader, alive func()) (ended bool, err error) {
	var name string
	var data []byte
	for {
		line, err := readLine(r)
		if err != nil {
			return false, err
		}
		alive()
		key, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch {
		case len(line) == 0 && name == "end":
			return true, nil
		case len(line) == 0 && name == "" && data != nil:
			if err := s.pass(data); err != nil {
				return false, err
			}
			fallthrough
		case len(line) == 0:
			name, data = "", nil
		case string(key) == "event":
			name = string(value)
		case string(key) == "id":
			s.at(value)
		case string(key) == "data":
			data = append(data, value...)
		}
	}
}

// at notes where the stream stands: the agent also says so where no event is
// told, so that a reader of only new events can resume.
func (s *subscription) at(id []byte) {
	if n, err := strconv.ParseUint(string(id), 10, 64); err == nil && s.after == event.Now {
		s.after = n
	}
}

func (s *subscription) pass(data []byte) error {
	var e event.Event
	if err := json.Unmarshal(data, &e); err != nil {
		return fault.New(fault.Internal, "cannot read an event: %w", err)
	}
	s.after = e.Seq
	s.heard++
	if err := s.f(e); err != nil {
		return errCallback{err}
	}
	return nil
}

func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return bytes.TrimRight(line, "\r\n"), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		case len(line) > maxEventLine:
			return nil, fault.New(fault.Internal, "a line of the event stream is longer than %d MiB", maxEventLine>>20)
		}
	}
}
