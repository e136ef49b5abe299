package control

import (
	"net/http"

	"github.com/muster-run/muster/api"
)

func (s *Server) sessionKey(*http.Request) (api.SessionKey, error) {
	if s.options.SessionKey == nil {
		return api.SessionKey{}, s.notOffered(http.MethodGet, "/v1/session-key")
	}
	return s.options.SessionKey(), nil
}
