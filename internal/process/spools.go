package process

import "github.com/muster-run/muster/internal/process/spool"

// Spool is the spool of a process's output, for those who serve its reader in
// another process; ErrNoSpool, ErrUnknownID.
func (d *Direct) Spool(id string) (*spool.Spool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, err := d.find(id)
	switch {
	case err != nil:
		return nil, err
	case e.spool == nil:
		return nil, ErrNoSpool
	}
	return e.spool, nil
}
