package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/muster-run/muster/fault"
)

const (
	// bodyMax is how much of an answer is read, in bytes.
	bodyMax = 64 << 10
	// userAgent names the check in the worker's access log.
	userAgent = "muster/1"
)

// httpProbe passes on a status of 200 to 399. Redirects are not followed.
type httpProbe struct {
	url    string
	client *http.Client
}

// newHTTP understands http://, https:// and unix:///path/to.sock:/request/path.
// A certificate is not verified: the check asks whether the worker serves, over
// loopback and mostly by another name than the certificate's.
func newHTTP(text string) (Probe, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, fault.New(fault.Config, "%q is no URL: %w", text, err)
	}
	socket := ""
	switch {
	case u.Scheme == "unix":
		path, request, _ := strings.Cut(u.Path, ":")
		if !strings.HasPrefix(path, "/") || u.Host != "" {
			return nil, badURL(text)
		}
		socket = path
		u = &url.URL{Scheme: "http", Host: "localhost", Path: request, RawQuery: u.RawQuery}
	case (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
		return nil, badURL(text)
	}
	u.Fragment = ""
	return httpProbe{url: u.String(), client: newClient(socket)}, nil
}

func badURL(text string) error {
	return fault.New(fault.Config, "%q is no URL that can be checked", text).
		WithFix("write http://127.0.0.1:8000/health, https://…, or unix:///run/web.sock:/health")
}

// newClient makes a client that keeps no connection, so that a worker that drains
// is not held up and each check proves that it still accepts.
func newClient(socket string) *http.Client {
	t := &http.Transport{
		DisableKeepAlives: true, DisableCompression: true,
		TLSClientConfig:        insecure(),
		MaxResponseHeaderBytes: bodyMax,
	}
	if socket != "" {
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
	}
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Check implements Probe.
func (p httpProbe) Check(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", userAgent)
	resp, err := p.client.Do(req)
	if err != nil {
		return fmt.Errorf("GET %s: %w", p.url, cause(err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, bodyMax))
	if resp.StatusCode < 200 || resp.StatusCode > 399 {
		return fmt.Errorf("GET %s: status %s%s", p.url, resp.Status, excerpt(body))
	}
	if err != nil {
		return fmt.Errorf("GET %s: status %s, then %w", p.url, resp.Status, err)
	}
	return nil
}

// cause is the error below the client's own wrapping, which repeats the URL.
func cause(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// excerpt is the first line of a body that says why, if it is text.
func excerpt(body []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	if line == "" || strings.HasPrefix(line, "<") {
		return ""
	}
	return ": " + line
}
