package agent

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/keeper"
	"github.com/muster-run/muster/internal/process"
)

// Abilities are what `muster agent --check` tells of a binary: whether it could
// go on where an agent of another version has left.
type Abilities struct {
	Version string `json:"version"`
	// ProtocolMin to ProtocolMax are the keeper's protocols it speaks.
	ProtocolMin int `json:"protocol_min"`
	ProtocolMax int `json:"protocol_max"`
	// Records is the newest version of records it understands.
	Records int `json:"records"`
}

// recordsVersion of the records that an agent leaves to the next one. A record
// gains fields without a new version.
const recordsVersion = 1

// checkTimeout bounds `BINARY agent --check`.
const checkTimeout = 5 * time.Second

// Able are the abilities of this binary.
func Able(version string) Abilities {
	return Abilities{
		Version: version, ProtocolMin: keeper.ProtocolMin, ProtocolMax: keeper.Protocol, Records: recordsVersion,
	}
}

// Upgrade checks a binary and has the keeper start it as the next agent; Run then
// leaves. No worker is touched. What it returns is what is planned: how it went
// stands in the status of the next agent. Faults: E-UPGRADE.
func (a *Agent) Upgrade(ctx context.Context, r api.UpgradeRequest) (api.Upgrade, error) {
	if a.keeper == nil {
		return api.Upgrade{}, refused("this agent runs without a keeper (--no-keeper), so its workers would end with it").
			WithFix("`muster down`, then `muster up` with the new binary")
	}
	if !a.upgrading.TryLock() {
		return api.Upgrade{}, refused("an upgrade is already under way").WithFix("`muster status` shows how it ends")
	}
	binary := r.Binary
	if binary == "" {
		binary = a.opts.Program
	}
	u := api.Upgrade{Time: time.Now(), Binary: binary, From: a.opts.Version}
	if err := a.handOver(ctx, &u); err != nil {
		a.upgrading.Unlock()
		return api.Upgrade{}, err
	}
	// The lock stays taken: there is no way back.
	select {
	case a.asked <- ending{leave: true}:
	case <-a.over:
	}
	return u, nil
}

// handOver checks the binary and tells the keeper of it.
func (a *Agent) handOver(ctx context.Context, u *api.Upgrade) error {
	if a.ending.Load() {
		return refused("the agent is about to end")
	}
	exe, err := openBinary(u.Binary)
	if err != nil {
		return err
	}
	defer exe.Close()
	able, err := a.question(ctx, u.Binary)
	if err != nil {
		return err
	}
	if p := a.keeper.Hello.Protocol; p < able.ProtocolMin || p > able.ProtocolMax {
		return refused("%s speaks the keeper's protocol in versions %d to %d, and this keeper speaks %d", u.Binary, able.ProtocolMin, able.ProtocolMax, p).
			WithFix("`muster down`, then `muster up` with the new binary")
	}
	if able.Records < recordsVersion {
		return refused("%s is too old to read the records of this agent (version %d, it reads %d)", u.Binary, recordsVersion, able.Records).
			WithFix("`muster down`, then `muster up` with the new binary")
	}
	u.To = able.Version
	text, err := json.Marshal(u)
	if err != nil {
		return err
	}
	return a.keeper.Link.Upgrade(exe, text)
}

func refused(format string, args ...any) *fault.Fault {
	return fault.New(fault.UpgradeFailed, format, args...)
}

// openBinary wants a file that can be executed.
func openBinary(path string) (*os.File, error) {
	if !filepath.IsAbs(path) {
		return nil, refused("%q is no absolute path", path).WithFix("name the new binary: `muster upgrade BINARY`")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, refused("cannot open the new binary: %w", err).WithFix("name the new binary: `muster upgrade BINARY`")
	}
	info, err := f.Stat()
	switch {
	case err != nil:
		err = refused("cannot look at the new binary: %w", err)
	case !info.Mode().IsRegular():
		err = refused("%s is no file", path)
	case info.Mode().Perm()&0o111 == 0:
		err = refused("%s is not executable", path).WithFix("chmod +x " + path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// question asks a binary what it is able to do.
func (a *Agent) question(ctx context.Context, binary string) (Abilities, error) {
	var able Abilities
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	env := append(a.supervisor.Spec().Environ[:0:0], a.supervisor.Spec().Environ...)
	result, err := process.Run(ctx, process.Command{ID: "upgrade-check", Argv: []string{binary, "agent", "--check"}, Env: env, Dir: "/"})
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return able, refused("%s has not answered `agent --check` within %s: it is no muster", binary, checkTimeout)
	case err != nil:
		return able, refused("%s cannot be run: %w", binary, err)
	case result.Exit.Code != 0:
		return able, refused("%s refuses `agent --check`: it is no muster, or one that cannot take over", binary).
			WithOutput(result.LastLines(5))
	}
	if err := json.Unmarshal(result.Output, &able); err != nil || able.ProtocolMax == 0 {
		return able, refused("%s does not answer `agent --check` as muster does", binary).WithOutput(result.LastLines(5))
	}
	return able, nil
}

// upgradeItself is what SIGUSR2 asks for; what goes wrong is a warning.
func (a *Agent) upgradeItself(ctx context.Context) {
	if _, err := a.Upgrade(ctx, api.UpgradeRequest{}); err != nil {
		a.warn(fault.From(err))
	}
}
