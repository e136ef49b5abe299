package control

import (
	"net/http"

	"github.com/muster-run/muster/api"
)

func (s *Server) status(*http.Request) (api.Status, error) {
	st := s.options.Status()
	if st.Apps == nil {
		st.Apps = []api.App{}
	}
	return st, nil
}
