package agent

import (
	"encoding/json"
	"os"
	"sort"
	"time"

	"github.com/muster-run/muster/fault"
)

// Record describes a running agent to the command line of the same user. It is
// a hint about where to ask; whether the agent runs is for the lock to say.
type Record struct {
	Project string `json:"project"`
	Key     string `json:"key"`
	// PID is the one that the user knows: the keeper's, or without one the agent's,
	// which is AgentPID in any case.
	PID      int `json:"pid"`
	AgentPID int `json:"agent_pid"`
	// File is the configuration, "" for `muster run`; Dir its directory, or the
	// one that `run` was started in.
	File      string    `json:"file,omitempty"`
	Dir       string    `json:"dir"`
	Version   string    `json:"version"`
	StartedAt time.Time `json:"started_at"`
}

// write puts the record in its place in one step.
func (r Record) write(path string) error {
	text, err := json.Marshal(r)
	if err != nil {
		return fault.New(fault.Internal, "cannot encode the agent's record: %w", err)
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, append(text, '\n'), 0o600); err != nil {
		return fault.New(fault.StateDir, "cannot write the agent's record: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fault.New(fault.StateDir, "cannot write the agent's record: %w", err)
	}
	return nil
}

// Recorded is the record of a project: of the agent that runs, or of one that was
// killed where nobody holds the lock. ok is false where there is none, as after an
// orderly end.
func (p Paths) Recorded() (rec Record, ok bool) {
	text, err := os.ReadFile(p.Record)
	if err != nil || json.Unmarshal(text, &rec) != nil || rec.Key != p.Key {
		return Record{}, false
	}
	return rec, true
}

// Running lists the agents that run below these roots, sorted by project.
// Records whose agent is gone, or that cannot be read, are left out.
func (r Roots) Running() []Record {
	dirs, _ := os.ReadDir(r.Runtime)
	var list []Record
	for _, dir := range dirs {
		rec, ok := r.Key(dir.Name()).Recorded()
		if !ok {
			continue
		}
		if _, held := LockHolder(r.Key(rec.Key)); held {
			list = append(list, rec)
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Project < list[j].Project })
	return list
}
