package keyed

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
)

// ServeHTTP implements http.Handler: who has the key is let through.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	code, f := s.admit(r)
	switch {
	case f != nil:
		s.refuse(w, r, code, f)
		return
	case r.ContentLength > maxBody:
		h.Set("Connection", "close") // what follows is not read
		answer(w, http.StatusRequestEntityTooLarge, fault.New(fault.Usage, "the request is longer than %d bytes", maxBody).WithFix("send less"))
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	s.o.API.ServeHTTP(w, r)
}

// admit says whether a request may be carried out, by its header alone.
func (s *Server) admit(r *http.Request) (code int, f *fault.Fault) {
	switch {
	case r.Header.Get("Origin") != "":
		return http.StatusForbidden, fault.New(fault.Denied, "pages in a browser may not use this").WithFix("ask from a program")
	case !isHere(r.Host):
		return http.StatusForbidden, fault.New(fault.Denied, "this is not %q", r.Host).WithFix("use 127.0.0.1, [::1] or localhost in the URL")
	case !s.hasKey(r.Header.Values("Authorization")):
		return http.StatusUnauthorized, fault.New(fault.Denied, "the session key is missing or wrong").
			WithFix("send Authorization: Bearer KEY; `muster session-key` prints it, and muster that was started anew has another one")
	}
	return 0, nil
}

// isHere says that a Host header names this host and nothing that a name server could
// have made of it.
func isHere(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	addr, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && addr.Unmap().IsLoopback()
}

// hasKey takes the same time for every wrong key.
func (s *Server) hasKey(headers []string) bool {
	if len(headers) != 1 {
		return false
	}
	scheme, key, _ := strings.Cut(headers[0], " ")
	got, want := sha256.Sum256([]byte(strings.TrimSpace(key))), sha256.Sum256([]byte(s.o.Key))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1 && strings.EqualFold(scheme, "Bearer") && s.o.Key != ""
}

// refuse answers a moment later, so that guessing takes its time; with too many of
// them under way it answers at once that there are.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, code int, f *fault.Fault) {
	s.tries.count(s.o.quiet, func(n int) {
		s.o.Warn(fault.New(fault.Denied, "%d requests were refused, the last because %s", n, f.Text).At("control.listen"))
	})
	w.Header().Set("Connection", "close") // its body is not read
	select {
	case s.refused <- struct{}{}:
		defer func() { <-s.refused }()
	default:
		w.Header().Set("Retry-After", "1")
		answer(w, http.StatusTooManyRequests, fault.New(fault.Denied, "too many requests without the session key"))
		return
	}
	t := time.NewTimer(s.o.delay)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.Context().Done():
		return
	}
	if code == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	answer(w, code, f)
}

func answer(w http.ResponseWriter, code int, f *fault.Fault) {
	text, err := json.Marshal(api.Failure{Error: f})
	if err != nil { // a few texts: it is nil
		text = nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(text, '\n')) // a client that has gone away does not need it
}

// tries counts refusals. The zero value is ready.
type tries struct {
	mu   sync.Mutex
	n    int
	told time.Time
}

// count tells of those so far, unless it has been told a moment ago.
func (t *tries) count(quiet time.Duration, tell func(n int)) {
	t.mu.Lock()
	t.n++
	n, now := t.n, time.Now()
	if !t.told.IsZero() && now.Sub(t.told) < quiet {
		t.mu.Unlock()
		return
	}
	t.n, t.told = 0, now
	t.mu.Unlock()
	tell(n)
}
