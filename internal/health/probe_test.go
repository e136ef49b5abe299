package health

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// probe makes a probe that must be valid.
func probe(t *testing.T, h spec.Health, run Runner) Probe {
	t.Helper()
	p, err := NewProbe(h, run)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func get(t *testing.T, url string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	return probe(t, spec.Health{Type: "http", URL: url}, nil).Check(ctx)
}

func TestHTTP(t *testing.T) {
	mux := http.NewServeMux()
	passing, failing := []int{200, 204, 299, 301, 302, 399}, []int{400, 404, 500, 503}
	for _, code := range slices.Concat(passing, failing) {
		mux.HandleFunc(fmt.Sprintf("/%d", code), func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || r.UserAgent() != "muster/1" || !r.Close {
				t.Errorf("%s by %q, close %v", r.Method, r.UserAgent(), r.Close)
			}
			if code == 503 {
				w.Header().Set("Content-Type", "text/plain")
			}
			w.Header().Set("Location", "/400") // following it would fail
			w.WriteHeader(code)
			if code == 503 {
				fmt.Fprintln(w, "database is away\nmore")
			}
		})
	}
	srv := httptest.NewServer(mux)
	defer srv.Close()
	for _, code := range passing {
		if err := get(t, fmt.Sprintf("%s/%d#part", srv.URL, code)); err != nil {
			t.Errorf("%d: %v", code, err)
		}
	}
	for _, code := range failing {
		err := get(t, fmt.Sprintf("%s/%d", srv.URL, code))
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("status %d", code)) {
			t.Errorf("%d: %v", code, err)
		}
	}
	if err := get(t, srv.URL+"/503"); err == nil || !strings.HasSuffix(err.Error(), ": database is away") {
		t.Errorf("why: %v", err)
	}
}

// A proxy of the environment is for the user's requests, not for a local check.
func TestHTTPWithoutProxy(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	p := probe(t, spec.Health{Type: "http", URL: "http://example.invalid/"}, nil)
	tr := p.(httpProbe).client.Transport.(*http.Transport)
	if tr.Proxy != nil || !tr.DisableKeepAlives {
		t.Error("uses a proxy, or keeps connections")
	}
}

func TestHTTPS(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer srv.Close()
	if err := get(t, srv.URL); err != nil {
		t.Errorf("a certificate of its own: %v", err)
	}
}

func TestHTTPOverUnixSocket(t *testing.T) {
	path := t.TempDir() + "/s"
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	seen := ""
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.URL.String() }))
	srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	defer srv.Close()
	for url, want := range map[string]string{"unix://" + path + ":/health?x=1": "/health?x=1", "unix://" + path: "/", "unix:" + path + ":/a": "/a"} {
		if err := get(t, url); err != nil || seen != want {
			t.Errorf("%s: asked for %q, %v", url, seen, err)
		}
	}
}

// An endless body costs no more than its first part; a hanging one its timeout.
func TestHTTPBodies(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hang" {
			w.WriteHeader(200)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
		for {
			if _, err := io.WriteString(w, strings.Repeat("x", 4096)); err != nil {
				return
			}
		}
	}))
	defer srv.Close()
	if err := get(t, srv.URL+"/endless"); err != nil {
		t.Errorf("endless: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := probe(t, spec.Health{Type: "http", URL: srv.URL + "/hang"}, nil).Check(ctx)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hanging: %v", err)
	}
}

func TestHTTPBrokenServers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	answers := []string{"", "nonsense\r\n\r\n", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", bodyMax), "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, answer := range answers {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = bufio.NewReader(c).ReadString('\n')
			_, _ = io.WriteString(c, answer)
			c.Close()
		}
	}()
	for i := range answers {
		if err := get(t, "http://"+l.Addr().String()); err == nil {
			t.Errorf("answer %d passed", i)
		}
	}
	<-done
	l.Close()
	if err := get(t, "http://"+l.Addr().String()); err == nil || strings.Count(err.Error(), l.Addr().String()) > 2 {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestTCP(t *testing.T) {
	dir := t.TempDir()
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "unix": dir + "/s"} {
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		p := probe(t, spec.Health{Type: "tcp", Address: l.Addr().String()}, nil)
		if err := p.Check(t.Context()); err != nil {
			t.Errorf("%s: %v", network, err)
		}
		l.Close()
		if err := p.Check(t.Context()); err == nil {
			t.Errorf("%s: passed with nobody there", network)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	if err := probe(t, spec.Health{Type: "tcp", Address: ":" + port}, nil).Check(t.Context()); err != nil {
		t.Errorf("without a host: %v", err)
	}
}

// runFunc is a Runner made of a function.
type runFunc func(argv []string) (string, int, error)

func (f runFunc) Run(_ context.Context, argv []string) (string, int, error) { return f(argv) }

func TestCommand(t *testing.T) {
	tests := []struct {
		output string
		code   int
		err    error
		want   string
	}{
		{"fine\n", 0, nil, ""},
		{"", 1, nil, "check: exit code 1"},
		{"first\nlast  \n\n", 7, nil, "check: exit code 7: last"},
		{"", -1, errors.New("cannot start"), "cannot start"},
	}
	for _, tt := range tests {
		p := probe(t, spec.Health{Type: "cmd", Command: []string{"check", "-x"}}, runFunc(func(argv []string) (string, int, error) {
			if strings.Join(argv, " ") != "check -x" {
				t.Errorf("ran %q", argv)
			}
			return tt.output, tt.code, tt.err
		}))
		got := ""
		if err := p.Check(t.Context()); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestNewProbeFaults(t *testing.T) {
	run := runFunc(nil)
	for _, h := range []spec.Health{
		{},
		{Type: "ping"},
		{Type: "cmd"},
		{Type: "http"},
		{Type: "http", URL: "localhost:80"},
		{Type: "http", URL: "/health"},
		{Type: "http", URL: "ftp://x/"},
		{Type: "http", URL: "http:///x"},
		{Type: "http", URL: "http://[::1"},
		{Type: "http", URL: "unix://host/x"},
		{Type: "http", URL: "unix:x"},
		{Type: "tcp"},
		{Type: "tcp", Address: "localhost"},
		{Type: "tcp", Address: "localhost:"},
		{Type: "tcp", Address: "relative/s"},
	} {
		_, err := NewProbe(h, run)
		if fault.CodeOf(err) != fault.Config || fault.From(err).Fix == "" {
			t.Errorf("%+v: %v", h, err)
		}
	}
	if _, err := NewProbe(spec.Health{Type: "cmd", Command: []string{"x"}}, nil); err == nil {
		t.Error("cmd without a runner")
	}
}
