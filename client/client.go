package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"syscall"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
)

// maxAnswer bounds an answer that is not a stream, in bytes.
const maxAnswer = 64 << 20

// Options of a Client.
type Options struct {
	// Socket is the path of the agent's control socket.
	Socket string
	// Version of this program, told to the agent and compared with its own.
	// "": not told, not compared.
	Version string
	// Alive says that an agent is there, or is just being started again: for as
	// long as it does, at most Patience, a call that finds nobody tries again, and
	// one that only asks also when the agent goes away meanwhile. nil: never.
	Alive func() bool
	// Patience is 5s by default.
	Patience time.Duration
	// AnswerTime is how long a call that only asks waits for an answer to begin,
	// so that an agent that hangs is found out; 0: for ever.
	AnswerTime time.Duration
	// SkewWarning is called at most once per Client, before the first answer of
	// an agent of another version is returned. nil: no warning.
	SkewWarning func(agent, own string)
}

// Client asks one agent.
type Client struct {
	options Options
	orders  *http.Client // an answer comes when the order is carried out
	asks    *http.Client // an answer comes within AnswerTime
	skew    sync.Once
	// silence is how long an events stream may be silent before it counts as
	// broken; pause is the wait before it is opened again.
	silence, pause time.Duration
}

// New makes a Client. It opens nothing: whether an agent is there shows at the
// first call (Version is the cheapest).
func New(o Options) *Client {
	if o.Patience <= 0 {
		o.Patience = 5 * time.Second
	}
	return &Client{
		options: o,
		orders:  &http.Client{Transport: transport(o.Socket, 0)},
		asks:    &http.Client{Transport: transport(o.Socket, o.AnswerTime)},
		silence: 45 * time.Second,
		pause:   200 * time.Millisecond,
	}
}

func transport(socket string, answer time.Duration) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
		ResponseHeaderTimeout:  answer,
	}
}

// Socket is the path that the client was made with.
func (c *Client) Socket() string { return c.options.Socket }

// get asks path and decodes the answer.
func get[Out any](ctx context.Context, c *Client, path string, q url.Values) (Out, error) {
	return exchange[Out](ctx, c, call{method: http.MethodGet, path: path, query: q})
}

// post sends in and decodes the answer.
func post[Out any](ctx context.Context, c *Client, path string, in any) (Out, error) {
	return send[Out](ctx, c, call{method: http.MethodPost, path: path}, in)
}

// ask is post of what changes nothing and needs no work, like get.
func ask[Out any](ctx context.Context, c *Client, path string, in any) (Out, error) {
	return send[Out](ctx, c, call{method: http.MethodPost, path: path, question: true}, in)
}

func send[Out any](ctx context.Context, c *Client, r call, in any) (out Out, err error) {
	if r.body, err = json.Marshal(in); err != nil {
		return out, fault.New(fault.Internal, "cannot encode the request: %w", err)
	}
	return exchange[Out](ctx, c, r)
}

func exchange[Out any](ctx context.Context, c *Client, r call) (Out, error) {
	var out Out
	answer, err := c.open(ctx, r)
	if err != nil {
		return out, err
	}
	defer answer.Body.Close()
	text, err := readAll(answer.Body)
	if err != nil {
		return out, c.broken(ctx, err)
	}
	return decode[Out](answer.StatusCode, text)
}

// decode reads an answer. Results win over the error beside them: the caller
// finds it again by asking them (api.Outcome.Fault).
func decode[Out any](status int, text []byte) (Out, error) {
	var out Out
	if status >= http.StatusBadRequest {
		var failed struct {
			api.Failure
			Results []api.Result `json:"results"`
		}
		if json.Unmarshal(text, &failed) != nil || failed.Error == nil {
			return out, fault.New(fault.Internal, "the agent answered with HTTP status %d: %.200q", status, text)
		}
		if failed.Results == nil {
			return out, failed.Error
		}
	}
	if err := json.Unmarshal(text, &out); err != nil {
		return out, fault.New(fault.Internal, "cannot read the agent's answer: %w", err)
	}
	return out, nil
}

func readAll(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxAnswer+1))
	if err == nil && len(text) > maxAnswer {
		err = fault.New(fault.Internal, "the agent's answer is longer than %d MiB", maxAnswer>>20)
	}
	return text, err
}

// call is one request.
type call struct {
	method, path string
	query        url.Values
	header       http.Header
	body         []byte
	question     bool // it only asks, whatever the method
}

// asks says that nothing is changed, and that the answer needs no work.
func (r call) asks() bool { return r.question || r.method == http.MethodGet }

// open sends a request and returns the answer once its header is there. Where
// nobody is there to take it, it tries again (Options.Alive).
func (c *Client) open(ctx context.Context, r call) (*http.Response, error) {
	for begun := time.Now(); ; {
		answer, err := c.send(ctx, r)
		if err == nil {
			c.compare(answer.Header.Get(api.VersionHeader))
			return answer, nil
		}
		if !c.patient(r, err) || time.Since(begun) > c.options.Patience || !c.rest(ctx) {
			return nil, c.broken(ctx, err)
		}
	}
}

// patient says that a request may be sent again: it did not arrive, or it changes
// nothing.
func (c *Client) patient(r call, err error) bool {
	if c.options.Alive == nil || errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EINVAL) || timedOut(err) {
		return false
	}
	var op *net.OpError
	unheard := errors.As(err, &op) && op.Op == "dial"
	return (unheard || r.asks()) && c.options.Alive()
}

// send sends a request once.
func (c *Client) send(ctx context.Context, r call) (*http.Response, error) {
	u := url.URL{Scheme: "http", Host: "muster", Path: r.path, RawQuery: r.query.Encode()}
	q, err := http.NewRequestWithContext(ctx, r.method, u.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, fault.New(fault.Internal, "cannot make the request: %w", err)
	}
	for key, values := range r.header {
		q.Header[key] = values
	}
	if r.body != nil {
		q.Header.Set("Content-Type", "application/json")
	}
	if c.options.Version != "" {
		q.Header.Set(api.VersionHeader, c.options.Version)
	}
	if r.asks() {
		return c.asks.Do(q)
	}
	return c.orders.Do(q)
}

// stream opens an answer that has no end; one that is an error is decoded.
func (c *Client) stream(ctx context.Context, r call) (*http.Response, error) {
	answer, err := c.open(ctx, r)
	if err != nil || answer.StatusCode < http.StatusBadRequest {
		return answer, err
	}
	defer answer.Body.Close()
	text, err := readAll(answer.Body)
	if err != nil {
		return nil, c.broken(ctx, err)
	}
	_, err = decode[struct{}](answer.StatusCode, text)
	return nil, err
}

// compare tells the caller once that the agent is of another version.
func (c *Client) compare(agent string) {
	own := c.options.Version
	if own == "" || agent == "" || agent == own || c.options.SkewWarning == nil {
		return
	}
	c.skew.Do(func() { c.options.SkewWarning(agent, own) })
}

// Metrics copies the agent's metrics (Prometheus text format) to w.
func (c *Client) Metrics(ctx context.Context, w io.Writer) error {
	answer, err := c.stream(ctx, call{method: http.MethodGet, path: "/metrics"})
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(w, answer.Body); err != nil {
		return c.broken(ctx, fmt.Errorf("cannot copy the metrics: %w", err))
	}
	return nil
}
