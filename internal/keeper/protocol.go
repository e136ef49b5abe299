package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/process/spool"
	"github.com/muster-run/muster/spec"
)

const (
	// Protocol is the version that this program speaks, ProtocolMin the oldest
	// that it understands (PROTOCOL.md, Versions).
	Protocol    = 1
	ProtocolMin = 1
	// FDsMax is the most descriptors that one start can carry.
	FDsMax = 250
	// requestMax and replyMax bound a frame, in bytes.
	requestMax = 8 << 20
	replyMax   = 16 << 20
	// listPart is how many processes or names one reply holds.
	listPart = 100
)

// The ops of an agent.
const (
	opHello     = "hello"
	opStart     = "start"
	opList      = "list"
	opAck       = "ack"
	opSetMeta   = "set_meta"
	opSetMain   = "set_main"
	opSetKillAt = "set_kill_at"
	opOutput    = "output"
	opWait      = "wait"
	opCommit    = "commit"
	opRelease   = "release"
	opPut       = "put"
	opGet       = "get"
	opTake      = "take"
	opNames     = "names"
	opUp        = "up"
	opNotify    = "notify"
	opObeys     = "obeys"
	opUpgrade   = "upgrade"
	opEnd       = "end"
)

// The ops of a keeper.
const (
	opReply   = "reply"
	opExit    = "exit"
	opSignal  = "signal"
	opTrouble = "trouble"
)

// request is a frame from the agent. Which fields an op has is in PROTOCOL.md.
type request struct {
	Op       string          `json:"op"`
	ID       uint64          `json:"id,omitempty"` // 0: no reply is wanted
	Protocol int             `json:"protocol,omitempty"`
	Min      int             `json:"min,omitempty"`
	Command  *command        `json:"command,omitempty"`
	Process  text            `json:"process,omitempty"`
	PID      int             `json:"pid,omitempty"`
	Meta     []byte          `json:"meta,omitempty"`
	KillAt   int64           `json:"kill_at,omitempty"`
	Out      uint64          `json:"out,omitempty"`
	Pos      int64           `json:"pos,omitempty"`
	Skip     *[2]int64       `json:"skip,omitempty"`
	Name     text            `json:"name,omitempty"`
	State    text            `json:"state,omitempty"`
	Signal   int             `json:"signal,omitempty"`
	What     json.RawMessage `json:"what,omitempty"`
	Code     int             `json:"code,omitempty"`
}

// reply is a frame from the keeper.
type reply struct {
	Op        string   `json:"op"`
	ID        uint64   `json:"id,omitempty"` // of the request
	Error     *failure `json:"error,omitempty"`
	FDs       int      `json:"fds,omitempty"`  // how many the frame carries
	More      bool     `json:"more,omitempty"` // another reply with this id follows
	Hello     *Hello   `json:"hello,omitempty"`
	Process   *proc    `json:"process,omitempty"`
	Processes []proc   `json:"processes,omitempty"`
	Names     []text   `json:"names,omitempty"`
	Out       uint64   `json:"out,omitempty"`
	Dir       text     `json:"dir,omitempty"`
	State     *state   `json:"state,omitempty"`
	Exit      *exit    `json:"exit,omitempty"`
	Signal    int      `json:"signal,omitempty"`
	Of        string   `json:"of,omitempty"`    // trouble: the op
	About     text     `json:"about,omitempty"` // trouble: its process or name
}

// text is a JSON string, or where it is not valid UTF-8 {"base64":"…"}: what the
// system passes around are bytes.
type text string

type rawText struct {
	Base64 []byte `json:"base64"`
}

// MarshalJSON implements json.Marshaler.
func (t text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(t)) {
		return json.Marshal(string(t))
	}
	return json.Marshal(rawText{[]byte(t)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		var raw rawText
		err := json.Unmarshal(b, &raw)
		*t = text(raw.Base64)
		return err
	}
	return json.Unmarshal(b, (*string)(t))
}

func toTexts(list []string) []text {
	texts := make([]text, len(list))
	for i, s := range list {
		texts[i] = text(s)
	}
	return texts
}

func fromTexts(texts []text) []string {
	list := make([]string, len(texts))
	for i, t := range texts {
		list[i] = string(t)
	}
	return list
}

// command is process.Command; its files are the frame's descriptors.
type command struct {
	ID       text           `json:"id"`
	Argv     []text         `json:"argv"`
	Env      []text         `json:"env,omitempty"`
	Dir      text           `json:"dir,omitempty"`
	Stdin    bool           `json:"stdin,omitempty"` // the first descriptor is stdin
	Files    []text         `json:"files,omitempty"` // names of the other descriptors
	Listen   int            `json:"listen,omitempty"`
	Identity *identity      `json:"identity,omitempty"`
	Umask    *spec.FileMode `json:"umask,omitempty"`
	Limits   limits         `json:"limits,omitzero"`
	Cgroup   bool           `json:"cgroup,omitempty"`
	Spool    text           `json:"spool,omitempty"`
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

func toCommand(c process.Command) *command {
	m := &command{
		ID: text(c.ID), Argv: toTexts(c.Argv), Env: toTexts(c.Env), Dir: text(c.Dir), Stdin: c.Stdin != nil, Listen: c.Listen,
		Identity: (*identity)(c.Identity), Umask: c.Umask, Cgroup: c.Cgroup, Spool: text(c.Spool), Meta: c.Meta,
		KillAt: toBoot(c.KillAt),
		Limits: limits{
			CPU: c.Limits.CPU, NoFile: c.Limits.NoFile, Nice: c.Limits.Nice, OOMScore: c.Limits.OOMScore,
			Core: (*int64)(c.Limits.Core), NoNewPrivs: c.Limits.NoNewPrivs,
		},
	}
	for _, f := range c.Files {
		m.Files = append(m.Files, text(f.Name))
	}
	return m
}

func (m *command) process() process.Command {
	return process.Command{
		ID: string(m.ID), Argv: fromTexts(m.Argv), Env: fromTexts(m.Env), Dir: string(m.Dir), Listen: m.Listen,
		Identity: (*process.Identity)(m.Identity), Umask: m.Umask, Cgroup: m.Cgroup, Spool: string(m.Spool), Meta: m.Meta,
		KillAt: fromBoot(m.KillAt),
		Limits: spec.Limits{
			CPU: m.Limits.CPU, NoFile: m.Limits.NoFile, Nice: m.Limits.Nice, OOMScore: m.Limits.OOMScore,
			Core: (*spec.Bytes)(m.Limits.Core), NoNewPrivs: m.Limits.NoNewPrivs,
		},
	}
}

// toBoot is a time as nanoseconds of CLOCK_BOOTTIME, which means the same in
// both processes whatever is done to the clock; zero stays 0.
func toBoot(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(bootTime()+int64(time.Until(t)), 1)
}

func fromBoot(at int64) time.Time {
	if at == 0 {
		return time.Time{}
	}
	return time.Now().Add(time.Duration(at - bootTime()))
}

func bootTime() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) // cannot fail: the clock is there
	return ts.Nano()
}

// proc is process.Proc.
type proc struct {
	ID          text   `json:"id"`
	PID         int    `json:"pid"`
	Start       uint64 `json:"start"`
	Leader      int    `json:"leader"`
	LeaderStart uint64 `json:"leader_start"`
	Cgroup      text   `json:"cgroup,omitempty"`
	Meta        []byte `json:"meta,omitempty"`
	Exit        *exit  `json:"exit,omitempty"`
}

// exit is process.Exit.
type exit struct {
	ID     text      `json:"id"`
	PID    int       `json:"pid"`
	Code   int       `json:"code"`
	Signal int       `json:"signal,omitempty"`
	Core   bool      `json:"core,omitempty"`
	Time   time.Time `json:"time"`
	CPU    int64     `json:"cpu,omitempty"` // nanoseconds
}

func toProc(p process.Proc) *proc {
	m := &proc{
		ID: text(p.ID), PID: p.PID, Start: p.StartTime, Leader: p.Leader, LeaderStart: p.LeaderStart,
		Cgroup: text(p.Cgroup), Meta: p.Meta,
	}
	if p.Exit != nil {
		m.Exit = toExit(*p.Exit)
	}
	return m
}

func toExit(e process.Exit) *exit {
	return &exit{text(e.ID), e.PID, e.Code, int(e.Signal), e.Core, e.Time, int64(e.CPU)}
}

func (m *exit) process() process.Exit {
	return process.Exit{
		ID: string(m.ID), PID: m.PID, Code: m.Code, Signal: syscall.Signal(m.Signal), Core: m.Core,
		Time: m.Time, CPU: time.Duration(m.CPU),
	}
}

// state is spool.State.
type state struct {
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

func toState(s spool.State) *state {
	m := &state{Committed: s.Committed, Skip: s.Skip, End: s.End, Over: s.Over}
	for _, h := range s.Held {
		m.Held = append(m.Held, held(h))
	}
	return m
}

func (m *state) spool() spool.State {
	s := spool.State{Committed: m.Committed, Skip: m.Skip, End: m.End, Over: m.Over}
	for _, h := range m.Held {
		if h.Stream == 1 || h.Stream == 2 {
			s.Held = append(s.Held, spool.HeldChunk(h))
		}
	}
	return s
}

// failure is an error on the wire.
type failure struct {
	Code   fault.Code `json:"code,omitempty"` // "": no fault
	Text   string     `json:"text"`
	Where  string     `json:"where,omitempty"`
	Output []string   `json:"output,omitempty"`
	Fix    string     `json:"fix,omitempty"`
	Errno  int        `json:"errno,omitempty"`
	Is     string     `json:"is,omitempty"` // a name of known
}

// known are the errors that callers tell apart by errors.Is.
func known() map[string]error {
	return map[string]error{
		"unknown-process": process.ErrUnknownID, "not-member": process.ErrNotMember, "no-spool": process.ErrNoSpool,
		"output-busy": process.ErrOutputBusy, "closed": process.ErrClosed,
	}
}

func toFailure(err error) *failure {
	m := &failure{Text: err.Error()}
	var f *fault.Fault
	if errors.As(err, &f) {
		m.Code, m.Text, m.Where, m.Output, m.Fix = f.Code, f.Text, f.Where, f.Output, f.Fix
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		m.Errno = int(errno)
	}
	for name, k := range known() {
		if errors.Is(err, k) {
			m.Is = name
		}
	}
	return m
}

// err is the error that a failure was made of, as far as callers can tell.
func (m *failure) err() error {
	var cause error
	if m.Errno != 0 {
		cause = syscall.Errno(m.Errno)
	}
	if k := known()[m.Is]; k != nil {
		cause = k
	}
	switch {
	case m.Code != "":
		return &fault.Fault{Code: m.Code, Text: m.Text, Where: m.Where, Output: m.Output, Fix: m.Fix, Err: cause}
	case cause != nil && cause.Error() == m.Text:
		return cause
	case cause != nil:
		return &remote{m.Text, cause}
	}
	return errors.New(m.Text)
}

// remote is an error of the keeper that is no fault.
type remote struct {
	text  string
	cause error
}

// Error implements error.
func (e *remote) Error() string { return e.text }

// Unwrap returns the cause.
func (e *remote) Unwrap() error { return e.cause }

// decodeRequest reads a frame. The error says that it is none: no JSON object,
// or without an op. A field of a wrong type makes bad: the frame can be answered.
func decodeRequest(data []byte) (r request, bad, err error) {
	err = json.Unmarshal(data, &r)
	var mistyped *json.UnmarshalTypeError
	if errors.As(err, &mistyped) && r.Op != "" {
		return r, err, nil
	}
	if err == nil && r.Op == "" {
		err = errors.New("it has no op")
	}
	if err != nil {
		return r, nil, fmt.Errorf("not a request: %w", err)
	}
	return r, nil, nil
}
