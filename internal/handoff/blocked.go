package handoff

import "github.com/muster-run/muster/fault"

// Blocked is what DoorOptions.Stuck was told, in words: that the worker of a slot takes
// no connections on an address, or takes them again.
func Blocked(address string, stuck bool, waiting int) *fault.Fault {
	switch {
	case !stuck:
		return fault.New(fault.Blocked, "it takes connections on %s again", address).WithFix("")
	case waiting > 0:
		return fault.New(fault.Blocked, "it takes no connections on %s: %d wait, and new ones go to other workers", address, waiting)
	}
	return fault.New(fault.Blocked, "it takes no connections on %s; they go to other workers", address)
}
