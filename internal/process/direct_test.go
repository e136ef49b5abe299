package process_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/process/processtest"
)

func TestMain(m *testing.M) {
	processtest.Setup()
	if os.Getenv(parentEnv) != "" {
		os.Exit(beParent())
	}
	if len(os.Args) == 2 && os.Args[0] == "aide" {
		os.Exit(beAide())
	}
	goleak.VerifyTestMain(m)
}

// direct makes a Direct that ends with the test.
func direct(t *testing.T, o process.Options) *process.Direct {
	t.Helper()
	o.Project = t.Name()
	d, err := process.NewDirect(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestDirectConforms(t *testing.T) {
	for name, o := range map[string]process.Options{"cgroup": {}, "no-cgroup": {NoCgroup: true}} {
		t.Run(name, func(t *testing.T) {
			processtest.Run(t, func(t *testing.T) (process.Starter, process.Store) {
				store := process.NewDirectStore()
				t.Cleanup(func() { store.Close() })
				return direct(t, o), store
			})
		})
	}
}
