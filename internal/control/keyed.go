package control

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
)

// keyedRoutes are what can be asked for with the session key.
func keyedRoutes() []string {
	return []string{"GET /v1/version", "POST /v1/stop", "POST /v1/restart", "POST /v1/shutdown"}
}

// Keyed answers requests whose sender has shown the session key (package keyed looks
// at that): few routes, and no others than on the socket. Its orders are told as those
// of the session key.
func (s *Server) Keyed() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := &writer{ResponseWriter: w}
		defer s.survive(out, r)
		w.Header().Set(api.VersionHeader, s.options.Version)
		w.Header().Set(api.AgentHeader, s.instance)
		if err := s.keyed(out, r); err != nil {
			s.fail(out, err)
		}
	})
}

func (s *Server) keyed(w http.ResponseWriter, r *http.Request) error {
	if !slices.Contains(keyedRoutes(), r.Method+" "+r.URL.Path) {
		return status{http.StatusNotFound, fault.New(fault.Usage, "%s %s is not to be had with the session key", r.Method, r.URL.Path).
			WithFix("ask for one of " + strings.Join(keyedRoutes(), ", ") + "; all else is on the control socket")}
	}
	route, err := s.find(w, r)
	if err != nil {
		return err
	}
	from := &conn{peer: peer{known: true, name: "session key from " + r.RemoteAddr}, end: r.Context()}
	return route.run(s, w, r.WithContext(context.WithValue(r.Context(), connKey{}, from)))
}
