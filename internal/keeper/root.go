package keeper

import (
	"log/slog"
	"os"

	"github.com/muster-run/muster/internal/process"
)

// Options of the root process.
type Options struct {
	// Project names the cgroup tree (process.Options.Project).
	Project string
	// Version of this program, for Hello.
	Version string
	// NoCgroup does without cgroups.
	NoCgroup bool
	// Files are put into the Store before the first agent starts: "record/boot",
	// "answer" … Run takes them over.
	Files map[string]*os.File
	// Inherited are the sockets that muster itself was given by LISTEN_FDS. Every
	// agent gets them in the same way, with a LISTEN_PID of its own.
	Inherited []process.NamedFD
	// Args of the agent, after its program's name; nil: "agent".
	Args []string
	// Environ of the agent, "K=V"; nil: that of this process. LISTEN_* and FDEnv
	// are set by the keeper.
	Environ []string
	// Log gets what the keeper has to say to the operator; nil: nothing.
	Log *slog.Logger
}

// Run is the root process: it starts the agent, and starts it again, until one
// ends orderly, and returns the exit code of muster when nothing is left. It may
// be called once in a process, from main.
func Run(o Options) int { return 1 }
