package keeper

import (
	"encoding/json"
	"os"
)

// UpgradeOutcome is Hello.Upgrade: what the last upgrade came to.
type UpgradeOutcome struct {
	// What was given to Client.Upgrade.
	What json.RawMessage `json:"what"`
	// Reason why the program before runs again; "": the new one runs.
	Reason string `json:"reason,omitempty"`
}

// upgrade is a program that is to replace the agent's.
type upgrade struct {
	exe  *os.File
	what json.RawMessage
}

// discard forgets an upgrade, which may be nil.
func (u *upgrade) discard() {
	if u != nil {
		u.exe.Close()
	}
}

// outcome is what the agents after an upgrade are told of it.
func (u *upgrade) outcome(reason string) json.RawMessage {
	o := UpgradeOutcome{What: u.what, Reason: reason}
	if !json.Valid(o.What) {
		o.What = nil
	}
	text, err := json.Marshal(o)
	if err != nil {
		return nil
	}
	return text
}

// try makes u the program of the next agent.
func (r *root) try(u *upgrade) {
	r.trial, r.last, r.upgraded = u, "upgraded", u.outcome("")
	r.o.Log.Info("the agent has left for an upgrade")
}

// keep makes the program that is tried, and is up now, the one to start again.
func (r *root) keep() {
	if r.trial == nil {
		return
	}
	r.exe.Close()
	r.exe, r.trial, r.fails = r.trial.exe, nil, 0
}

// fallBack goes back to the program before.
func (r *root) fallBack(reason string) {
	u := r.trial
	defer u.discard()
	r.trial, r.last, r.upgraded = nil, neverUp, u.outcome(reason)
	r.o.Log.Error("the upgraded agent did not come up: the one before is started again", "why", reason)
}
