package whom

import (
	"path"
	"slices"
	"strings"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
)

// ClientPrefix begins the names of clients.
const ClientPrefix = "client:"

// Selector is one that was read. The zero value means nobody.
type Selector struct {
	workers *api.Selector
	clients []string // globs
}

// Parse reads a text. Its error is a fault of code Usage.
func Parse(text string) (Selector, error) {
	var s Selector
	var rest []string
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		name, client := strings.CutPrefix(part, ClientPrefix)
		if !client {
			rest = append(rest, part)
			continue
		}
		if _, err := path.Match(name, ""); name == "" || err != nil {
			return Selector{}, fault.New(fault.Usage, "%q selects nothing: write client:NAME", part)
		}
		s.clients = append(s.clients, name)
	}
	if len(rest) > 0 {
		w, err := api.ParseSelector(strings.Join(rest, ","))
		if err != nil {
			return Selector{}, err
		}
		s.workers = &w
	}
	return s, nil
}

// Client says whether it means a client; name is the whole one, client:NAME.
func (s Selector) Client(name string) bool {
	name = strings.TrimPrefix(name, ClientPrefix)
	return slices.ContainsFunc(s.clients, func(glob string) bool {
		ok, _ := path.Match(glob, name)
		return ok
	})
}

// Worker says whether it means a worker.
func (s Selector) Worker(t api.Target, slot int) bool {
	if s.workers == nil {
		return false
	}
	slots, ok := s.workers.Match(t)
	return ok && (slots == nil || slices.Contains(slots, slot))
}
