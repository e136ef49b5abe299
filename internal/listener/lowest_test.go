package listener

import (
	"fmt"
	"testing"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// What LowestPort says is what the kernel does, for the ports around it.
func TestLowestPort(t *testing.T) {
	lowest := LowestPort()
	if lowest < 1 || lowest > FreePort() {
		t.Fatalf("lowest %d, free from %d", lowest, FreePort())
	}
	for _, port := range []int{lowest - 1, lowest, lowest + 1} {
		if port < 1 {
			continue
		}
		f, err := Bind(spec.Listener{Network: "tcp", Address: fmt.Sprintf("127.0.0.1:%d", port)})
		if err == nil {
			f.Close()
		}
		if fault.CodeOf(err) == fault.PortInUse {
			continue // it may be bound: somebody has
		}
		if (err == nil) != (port >= lowest) {
			t.Errorf("port %d, lowest %d: %v", port, lowest, err)
		}
	}
}
