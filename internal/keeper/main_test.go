package keeper

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/muster-run/muster/internal/process/processtest"
)

// TestMain is also the keeper and the agent of tests, which run this program
// again (puppet_test.go).
func TestMain(m *testing.M) {
	processtest.Setup()
	switch {
	case os.Getenv(FDEnv) != "" && len(os.Args) == 2 && os.Args[1] == "agent":
		os.Exit(beAgent())
	case os.Getenv(keeperEnv) != "":
		os.Exit(beKeeper())
	}
	goleak.VerifyTestMain(m)
}
