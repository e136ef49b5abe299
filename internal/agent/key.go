package agent

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
)

// keyRecord is the session key among the keeper's records; keyBytes is how long it is.
const (
	keyRecord = "session-key"
	keyBytes  = 16
)

// openKey finds the key of the session, which the first agent makes. It lives in
// memory only, and ends with the keeper.
func (a *Agent) openKey() error {
	if a.keeper != nil {
		text, err := a.keeper.records().Load(keyRecord)
		if err != nil {
			return err
		}
		if a.key = string(text); a.key != "" {
			return nil
		}
	}
	random := make([]byte, keyBytes)
	_, _ = rand.Read(random) // it cannot fail
	a.key = hex.EncodeToString(random)
	if a.keeper == nil {
		return nil
	}
	if err := a.keeper.records().Save(keyRecord, []byte(a.key)); err != nil {
		return fault.New(fault.Internal, "the session key cannot be kept: %w", err)
	}
	return nil
}

// SessionKey is the secret that authorises from outside, and where that is possible.
func (a *Agent) SessionKey() api.SessionKey {
	return api.SessionKey{Key: a.key, Listen: a.keyed.place()}
}

// session is what the notifiers tell of it, also before the first spec is applied.
func (a *Agent) session() (key, address string) {
	return a.key, cmp.Or(a.keyed.place(), a.opts.Spec.Control.Listen)
}
