package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Options of a run. Addr must be set.
type Options struct {
	// Network is tcp (default) or unix, Addr what to dial.
	Network, Addr string
	// Fresh, Kept and Sockets are the numbers of clients of each kind; the last
	// speak WebSocket to a server that echoes.
	Fresh, Kept, Sockets int
	// A request asks for a delay of MinDelay to MaxDelay, in whole milliseconds.
	// Default 0 to 50 ms; MaxDelay negative: no delay.
	MinDelay, MaxDelay time.Duration
	// Timeout after which a request counts as hung. Default 5 s.
	Timeout time.Duration
	// Path that is asked for, default "/"; "?ms=N" is added.
	Path string
}

func (o Options) withDefaults() Options {
	if o.Network == "" {
		o.Network = "tcp"
	}
	if o.MaxDelay == 0 {
		o.MaxDelay = 50 * time.Millisecond
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Path == "" {
		o.Path = "/"
	}
	return o
}

// Run is a load that is under way. Its methods are safe for concurrent use.
type Run struct {
	opt    Options
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	report Report
}

// Start begins to send requests; Stop must be called.
func Start(opt Options) *Run {
	ctx, cancel := context.WithCancel(context.Background())
	r := &Run{opt: opt.withDefaults(), cancel: cancel, report: newReport()}
	for i := range r.opt.Fresh + r.opt.Kept {
		c := &client{run: r, kept: i >= r.opt.Fresh, index: i}
		r.wg.Go(func() { c.loop(ctx) })
	}
	for i := range r.opt.Sockets {
		c := &talker{client: client{run: r, index: r.opt.Fresh + r.opt.Kept + i}}
		r.wg.Go(func() { c.loop(ctx) })
	}
	return r
}

// Report is what has been counted so far.
func (r *Run) Report() Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.report.clone()
}

// Mark forgets who answered and the longest answer, so that the next Report
// tells only of what came after. The counts stay.
func (r *Run) Mark() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Seen = map[Who]int{}
	r.report.Longest = 0
}

// Stop lets the requests that are under way end, and returns the final report.
func (r *Run) Stop() Report {
	r.cancel()
	r.wg.Wait()
	return r.Report()
}

// client is one of the clients; one goroutine owns it.
type client struct {
	run   *Run
	kept  bool
	index int

	conn net.Conn
	in   *bufio.Reader
	raw  *ending
}

// ending remembers how a connection's input ended: a parser that met the end
// in the middle of a header calls that a malformed header.
type ending struct {
	net.Conn
	err error
}

func (e *ending) Read(b []byte) (int, error) {
	n, err := e.Conn.Read(b)
	e.err = err
	return n, err
}

func (c *client) loop(ctx context.Context) {
	defer c.drop()
	for ctx.Err() == nil {
		start := time.Now()
		who, err := c.request(start.Add(c.run.opt.Timeout))
		side := fresh
		if c.kept {
			side = kept
		}
		c.run.count(side, who, time.Since(start), err)
		if err != nil {
			c.drop()
			pause(ctx, 5*time.Millisecond) // a refused connection must not spin
		}
	}
}

// pause waits so long, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (c *client) drop() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// request sends one request and reads its whole answer.
func (c *client) request(deadline time.Time) (Who, error) {
	if c.conn == nil {
		if err := c.dial(deadline); err != nil {
			return Who{}, fmt.Errorf("connect: %w", err)
		}
	}
	_ = c.conn.SetDeadline(deadline)
	if _, err := io.WriteString(c.conn, c.text()); err != nil {
		return Who{}, fmt.Errorf("write: %w", err)
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return Who{}, fmt.Errorf("read: %w", errors.Join(err, c.raw.err))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return Who{}, fmt.Errorf("read: %w", err)
	}
	if resp.Close || !c.kept {
		c.drop()
	}
	if resp.StatusCode != http.StatusOK {
		return Who{}, statusError(resp.StatusCode)
	}
	return parseWho(body)
}

func (c *client) dial(deadline time.Time) error {
	d := net.Dialer{Deadline: deadline}
	if from := sourceAddress(c.run.opt.Addr, c.index); from != nil {
		d.LocalAddr = from
	}
	conn, err := d.Dial(c.run.opt.Network, c.run.opt.Addr)
	if err != nil {
		return err
	}
	c.raw = &ending{Conn: conn}
	c.conn, c.in = conn, bufio.NewReader(c.raw)
	return nil
}

// sourceAddress gives each client a loopback address of its own, so that
// thousands of closed connections do not use up the ports of one.
func sourceAddress(target string, index int) *net.TCPAddr {
	host, _, err := net.SplitHostPort(target)
	ip := net.ParseIP(host).To4()
	if err != nil || ip == nil || !ip.IsLoopback() {
		return nil
	}
	return &net.TCPAddr{IP: net.IPv4(127, ip[1], ip[2]^1, byte(index+1))}
}

func (c *client) text() string {
	connection := "keep-alive"
	if !c.kept {
		connection = "close"
	}
	ms := int(c.run.opt.MinDelay / time.Millisecond)
	if d := int((c.run.opt.MaxDelay - c.run.opt.MinDelay) / time.Millisecond); d > 0 {
		ms += rand.IntN(d + 1)
	}
	return "GET " + c.run.opt.Path + "?ms=" + strconv.Itoa(ms) + " HTTP/1.1\r\n" +
		"Host: localhost\r\nConnection: " + connection + "\r\n\r\n"
}

// Who gave an answer.
type Who struct {
	Release string
	PID     int
}

var whoPattern = regexp.MustCompile(`release=(\S+) pid=(\d+)`)

var errGarbled = errors.New("the answer does not say release=… pid=…")

func parseWho(body []byte) (Who, error) {
	m := whoPattern.FindSubmatch(body)
	if m == nil {
		return Who{}, errGarbled
	}
	pid, err := strconv.Atoi(string(m[2]))
	if err != nil {
		return Who{}, errGarbled
	}
	return Who{Release: string(m[1]), PID: pid}, nil
}

type statusError int

// Error names the status.
func (s statusError) Error() string { return "status " + strconv.Itoa(int(s)) }

// kindOf says how a request was lost.
func kindOf(err error) Kind {
	var status statusError
	var timeout net.Error
	switch {
	case errors.As(err, &status):
		return Status
	case errors.Is(err, errGarbled):
		return Garbled
	case errors.As(err, &timeout) && timeout.Timeout():
		return Hung
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		return Refused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return Reset
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return EOF
	}
	return Other
}
