package handoff

import "github.com/muster-run/muster/fault"

// Blocked is what DoorOptions.Stuck was told, in words: that the worker of a slot takes
// no connections on an address, or takes them again.
func Blocked(address string, stuck bool, waiting int) *fault.Fault {
	if !stuck {
		return fault.New(fault.Blocked, "it takes connections on %s again", address).WithFix("")
	}
	return fault.New(fault.Blocked, "it takes no connections on %s: %d wait, and new ones go to other workers", address, waiting)
}
