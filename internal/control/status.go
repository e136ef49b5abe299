package control

import (
	"net/http"
	"slices"

	"github.com/muster-run/muster/api"
)

func (s *Server) status(*http.Request) (api.Status, error) {
	st := s.options.Status()
	// Lists are never null on the wire.
	if st.Apps = slices.Clone(st.Apps); st.Apps == nil {
		st.Apps = []api.App{}
	}
	for i := range st.Apps {
		if st.Apps[i].Workers == nil {
			st.Apps[i].Workers = []api.Worker{}
		}
	}
	return st, nil
}
