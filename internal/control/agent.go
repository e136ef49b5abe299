package control

import (
	"context"
	"net/http"
	"os"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
)

func (s *Server) version(*http.Request) (api.Agent, error) {
	return api.Agent{Version: s.options.Version, API: api.Version, PID: os.Getpid(), Instance: s.instance}, nil
}

func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) error {
	s.writeIn(w)
	w.Header().Set("Content-Type", mediaJSON)
	_, _ = w.Write(OpenAPI(s.options.Version)) // a client that has gone away does not need it
	return nil
}

func (s *Server) metrics(w http.ResponseWriter, r *http.Request) error {
	if s.options.Metrics == nil {
		return s.notOffered(r.Method, r.URL.Path)
	}
	s.writeIn(w)
	s.options.Metrics.ServeHTTP(w, r)
	return nil
}

func (s *Server) shutdown(ctx context.Context, in api.StopRequest) (api.Done, error) {
	if s.options.Shutdown == nil {
		return api.Done{}, s.notOffered(http.MethodPost, "/v1/shutdown")
	}
	if in.ExitCode < 0 || in.ExitCode > 255 {
		return api.Done{}, fault.New(fault.Usage, "the exit code %d cannot be", in.ExitCode).WithFix("give 0 to 255")
	}
	s.ordered(ctx, "shutdown", in.Reason)
	begun := time.Now()
	s.options.Shutdown(in)
	return api.Done{Took: time.Since(begun)}, nil
}

func (s *Server) reopenLogs(ctx context.Context, _ struct{}) (api.Done, error) {
	if s.options.ReopenLogs == nil {
		return api.Done{}, s.notOffered(http.MethodPost, "/v1/reopen-logs")
	}
	s.ordered(ctx, "reopen-logs", "")
	begun := time.Now()
	err := s.options.ReopenLogs()
	return api.Done{Took: time.Since(begun)}, err
}

func (s *Server) upgrade(ctx context.Context, in api.UpgradeRequest) (api.Upgrade, error) {
	if s.options.Upgrade == nil {
		return api.Upgrade{}, s.notOffered(http.MethodPost, "/v1/upgrade")
	}
	s.ordered(ctx, "upgrade", in.Binary)
	return s.options.Upgrade(ctx, in)
}
