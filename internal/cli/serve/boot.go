package serve

import (
	"encoding/json"
	"io"
	"os"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/spec"
)

// Boot is what an agent needs to know to begin. It is kept as JSON for as long as
// the keeper lives, also for agents of another version: fields are only added.
type Boot struct {
	Spec spec.Spec `json:"spec"`
	// Key names the project's directories; Dir is where `run` was started.
	Key string `json:"key"`
	Dir string `json:"dir,omitempty"`
	// Rereads: HUP reads Spec.File anew. Else HUP ends muster.
	Rereads bool `json:"rereads,omitempty"`
	// UntilEnded: muster ends when all workers have ended by themselves.
	UntilEnded bool `json:"until_ended,omitempty"`
	// Resume begins with the sizes and stops that were made by hand before.
	Resume bool `json:"resume,omitempty"`
	// Background: what workers print is for the log files alone.
	Background bool `json:"background,omitempty"`
	// Console: one on the terminal shows what happens, and not the agent.
	Console bool `json:"console,omitempty"`
	// Verbose, Quiet and NoColour are the flags of the command.
	Verbose  bool `json:"verbose,omitempty"`
	Quiet    bool `json:"quiet,omitempty"`
	NoColour bool `json:"no_colour,omitempty"`
	NoCgroup bool `json:"no_cgroup,omitempty"`
	// Program is the path that muster was started from, for SIGUSR2.
	Program string `json:"program"`
}

const (
	// bootRecord is the Boot among the keeper's records, answerName the pipe of
	// `up -d` in its Store.
	bootRecord = "boot"
	answerName = "answer"
)

// file is the Boot in a memory file; the caller closes it.
func (b Boot) file() (*os.File, error) {
	text, err := json.Marshal(b)
	if err != nil {
		return nil, fault.New(fault.Internal, "cannot encode what the agent is to run: %w", err)
	}
	store := process.NewDirectStore()
	defer store.Close()
	if err := (process.Records{Store: store}).Save(bootRecord, text); err != nil {
		return nil, fault.New(fault.StartFailed, "cannot keep what the agent is to run: %w", err)
	}
	return store.Get("record/" + bootRecord)
}

// readBoot reads a Boot from its file, whose place it leaves alone.
func readBoot(f *os.File) (Boot, error) {
	info, err := f.Stat()
	if err != nil {
		return Boot{}, fault.New(fault.Internal, "cannot read what to run: %w", err)
	}
	text, err := io.ReadAll(io.NewSectionReader(f, 0, info.Size()))
	if err != nil {
		return Boot{}, fault.New(fault.Internal, "cannot read what to run: %w", err)
	}
	return decodeBoot(text)
}

func decodeBoot(text []byte) (b Boot, err error) {
	if err := json.Unmarshal(text, &b); err != nil {
		return b, fault.New(fault.Internal, "what is to run is not understood: %w", err)
	}
	return b, nil
}
