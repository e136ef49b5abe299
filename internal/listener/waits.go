package listener

import (
	"os"
	"time"

	"github.com/muster-run/muster/internal/listener/diag"
)

// Waits is how long each connection has waited that was made to the address of a
// listening TCP socket and that nobody has accepted, in no order. Sockets of one group
// share their address: it is not told in which queue a connection is. Clients that
// have broken their connection off are not among them, though they fill the queue. It
// takes milliseconds, tens of them with a hundred thousand connections on the host.
// Errors: those of the system, which may know no such question.
func Waits(f *os.File) ([]time.Duration, error) {
	at, err := endpointOf(f)
	if err != nil {
		return nil, err
	}
	found, err := diag.TCP(diag.Query{
		IPv6: at.addr.Is6(), Port: at.port, States: diag.Established | diag.CloseWait, Age: true,
	})
	var ages []time.Duration
	for _, s := range found {
		if s.Inode == 0 && (at.addr.IsUnspecified() || s.Local.Addr().Unmap() == at.addr.Unmap()) {
			ages = append(ages, s.Age)
		}
	}
	return ages, err
}
