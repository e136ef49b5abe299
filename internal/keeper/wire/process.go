package wire

import (
	"syscall"
	"time"

	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/process/alarm"
	"github.com/muster-run/muster/internal/process/spool"
	"github.com/muster-run/muster/spec"
)

// Command is process.Command; its files are the frame's descriptors.
type Command struct {
	ID       Text           `json:"id"`
	Argv     []Text         `json:"argv"`
	Env      []Text         `json:"env,omitempty"`
	Dir      Text           `json:"dir,omitempty"`
	Stdin    bool           `json:"stdin,omitempty"` // the first descriptor is stdin
	Files    []Text         `json:"files,omitempty"` // names of the other descriptors
	Listen   int            `json:"listen,omitempty"`
	Identity *identity      `json:"identity,omitempty"`
	Umask    *spec.FileMode `json:"umask,omitempty"`
	Limits   limits         `json:"limits,omitzero"`
	Cgroup   bool           `json:"cgroup,omitempty"`
	Spool    Text           `json:"spool,omitempty"`
	Meta     []byte         `json:"meta,omitempty"`
	KillAt   int64          `json:"kill_at,omitempty"`
}

type identity struct {
	UID    uint32   `json:"uid"`
	GID    uint32   `json:"gid"`
	Groups []uint32 `json:"groups,omitempty"`
}

// limits is spec.Limits as far as a start sets them; in figures, which the words
// of a configuration may change around.
type limits struct {
	CPU        float64 `json:"cpu,omitempty"`
	NoFile     uint64  `json:"nofile,omitempty"`
	Nice       *int    `json:"nice,omitempty"`
	OOMScore   *int    `json:"oom_score,omitempty"`
	Core       *int64  `json:"core,omitempty"` // bytes
	NoNewPrivs bool    `json:"no_new_privs,omitempty"`
}

// FromCommand leaves out the files.
func FromCommand(c process.Command) *Command {
	m := &Command{
		ID: Text(c.ID), Argv: ToTexts(c.Argv), Env: ToTexts(c.Env), Dir: Text(c.Dir), Stdin: c.Stdin != nil, Listen: c.Listen,
		Identity: (*identity)(c.Identity), Umask: c.Umask, Cgroup: c.Cgroup, Spool: Text(c.Spool), Meta: c.Meta,
		KillAt: ToBoot(c.KillAt),
		Limits: limits{
			CPU: c.Limits.CPU, NoFile: c.Limits.NoFile, Nice: c.Limits.Nice, OOMScore: c.Limits.OOMScore,
			Core: (*int64)(c.Limits.Core), NoNewPrivs: c.Limits.NoNewPrivs,
		},
	}
	for _, f := range c.Files {
		m.Files = append(m.Files, Text(f.Name))
	}
	return m
}

// Process is the command, still without files.
func (m *Command) Process() process.Command {
	return process.Command{
		ID: string(m.ID), Argv: FromTexts(m.Argv), Env: FromTexts(m.Env), Dir: string(m.Dir), Listen: m.Listen,
		Identity: (*process.Identity)(m.Identity), Umask: m.Umask, Cgroup: m.Cgroup, Spool: string(m.Spool), Meta: m.Meta,
		KillAt: FromBoot(m.KillAt),
		Limits: spec.Limits{
			CPU: m.Limits.CPU, NoFile: m.Limits.NoFile, Nice: m.Limits.Nice, OOMScore: m.Limits.OOMScore,
			Core: (*spec.Bytes)(m.Limits.Core), NoNewPrivs: m.Limits.NoNewPrivs,
		},
	}
}

// ToBoot is a time as nanoseconds of CLOCK_BOOTTIME, which means the same in
// both processes whatever is done to the clock; zero stays 0.
func ToBoot(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(alarm.BootTime()+int64(time.Until(t)), 1)
}

// FromBoot undoes ToBoot.
func FromBoot(at int64) time.Time {
	if at == 0 {
		return time.Time{}
	}
	return time.Now().Add(time.Duration(at - alarm.BootTime()))
}

// Proc is process.Proc.
type Proc struct {
	ID          Text   `json:"id"`
	PID         int    `json:"pid"`
	Start       uint64 `json:"start"`
	Leader      int    `json:"leader"`
	LeaderStart uint64 `json:"leader_start"`
	Cgroup      Text   `json:"cgroup,omitempty"`
	Meta        []byte `json:"meta,omitempty"`
	Exit        *Exit  `json:"exit,omitempty"`
}

// Exit is process.Exit.
type Exit struct {
	ID     Text      `json:"id"`
	PID    int       `json:"pid"`
	Code   int       `json:"code"`
	Signal int       `json:"signal,omitempty"`
	Core   bool      `json:"core,omitempty"`
	Time   time.Time `json:"time"`
	CPU    int64     `json:"cpu,omitempty"` // nanoseconds
}

// FromProc leaves out the pidfd.
func FromProc(p process.Proc) *Proc {
	m := &Proc{
		ID: Text(p.ID), PID: p.PID, Start: p.StartTime, Leader: p.Leader, LeaderStart: p.LeaderStart,
		Cgroup: Text(p.Cgroup), Meta: p.Meta,
	}
	if p.Exit != nil {
		m.Exit = FromExit(*p.Exit)
	}
	return m
}

// FromExit makes an exit ready for the wire.
func FromExit(e process.Exit) *Exit {
	return &Exit{Text(e.ID), e.PID, e.Code, int(e.Signal), e.Core, e.Time, int64(e.CPU)}
}

// Process is the exit.
func (m *Exit) Process() process.Exit {
	return process.Exit{
		ID: string(m.ID), PID: m.PID, Code: m.Code, Signal: syscall.Signal(m.Signal), Core: m.Core,
		Time: m.Time, CPU: time.Duration(m.CPU),
	}
}

// State is spool.State.
type State struct {
	Committed int64    `json:"committed"`
	Skip      [2]int64 `json:"skip"`
	End       int64    `json:"end"`
	Over      bool     `json:"over,omitempty"`
	Held      []held   `json:"held,omitempty"`
}

type held struct {
	Pos    int64     `json:"pos"`
	Stream int       `json:"stream"`
	Time   time.Time `json:"time"`
	Data   []byte    `json:"data"`
}

// FromState makes a state ready for the wire.
func FromState(s spool.State) *State {
	m := &State{Committed: s.Committed, Skip: s.Skip, End: s.End, Over: s.Over}
	for _, h := range s.Held {
		m.Held = append(m.Held, held(h))
	}
	return m
}

// Spool is the state; chunks of streams that there are none of are left out.
func (m *State) Spool() spool.State {
	s := spool.State{Committed: m.Committed, Skip: m.Skip, End: m.End, Over: m.Over}
	for _, h := range m.Held {
		if h.Stream == 1 || h.Stream == 2 {
			s.Held = append(s.Held, spool.HeldChunk(h))
		}
	}
	return s
}
