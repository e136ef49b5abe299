package record

import (
	"slices"
	"testing"
)

func TestHolders(t *testing.T) {
	names := []string{
		"asked/web/tcp://:8000", "asked/web/tcp://:8000#1", "listen/api/tcp://127.0.0.1:8000", "listen/api/udp://:8001",
		"asked/web/unix:///run/a#b", "pool/web", "listen/other/tcp://:80", "listen/",
	}
	for key, want := range map[string][]Holder{
		"tcp://0.0.0.0:8000": {{"web", true}, {"api", false}},
		"udp://:8000":        nil,
		"udp://[::1]:8001":   {{"api", false}},
		"unix:///run/a#b":    {{"web", true}},
		"unix:///run/a":      nil,
		"tcp://:0":           nil,
	} {
		if got := Holders(names, key); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", key, got, want)
		}
	}
}
