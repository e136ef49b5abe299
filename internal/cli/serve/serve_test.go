package serve

import (
	"context"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/spec"
)

func TestKeeperCommandLine(t *testing.T) {
	for _, p := range []keeperPlan{
		{name: "shop", key: "shop-12345678", boot: 3, answer: 4, noCgroup: true},
		{name: "shop", key: "shop-12345678", boot: 7, answer: -1},
	} {
		argv := p.argv()
		if !IsKeeper(argv) || strings.Join(argv[:3], " ") != "muster keeper shop" {
			t.Errorf("%q is no keeper, or ps does not tell whose", argv)
		}
		if back, err := parseKeeper(argv); err != nil || back != p {
			t.Errorf("%q is read as %+v, %v", argv, back, err)
		}
	}
	for _, line := range []string{
		"muster keeper", "muster keeper shop", "muster keeper shop --key k", "muster keeper shop --boot 3",
		"muster keeper shop --key k --boot 1", "muster keeper shop --key k --boot x", "muster keeper shop --key k --boot 3 more",
	} {
		if p, err := parseKeeper(strings.Fields(line)); err == nil {
			t.Errorf("%q is understood as %+v", line, p)
		}
	}
	for _, line := range []string{"muster", "muster up", "muster agent shop"} {
		if IsKeeper(strings.Fields(line)) {
			t.Errorf("%q is taken for a keeper", line)
		}
	}
}

// Every agent reads the same Boot, through copies of one open file.
func TestBootIsReadAgainAndAgain(t *testing.T) {
	app := spec.DefaultApp("web")
	app.Command, app.Dir, app.Env = []string{"server", "--x"}, "/srv", map[string]string{"TOKEN": "secret"}
	b := Boot{
		Spec: spec.Spec{Project: "shop", File: "/srv/muster.yaml", Environ: []string{"A=1"}, Apps: []spec.App{app}},
		Key:  "shop-1", Dir: "/srv", Rereads: true, UntilEnded: true, Quiet: true, Program: "/usr/bin/muster",
	}
	f, err := b.file()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	store := process.NewDirectStore()
	defer store.Close()
	if err := store.Put("record/"+bootRecord, f); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if back, err := readBoot(f); err != nil || !reflect.DeepEqual(back, b) {
			t.Errorf("%+v, %v", back, err)
		}
		text, err := process.Records{Store: store}.Load(bootRecord)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decodeBoot(text); err != nil || !reflect.DeepEqual(back, b) {
			t.Errorf("%+v, %v", back, err)
		}
	}
	if _, err := decodeBoot([]byte("{")); fault.CodeOf(err) != fault.Internal {
		t.Error(err)
	}
}

func TestAnswerIsToldOnce(t *testing.T) {
	ctx := context.Background()
	for name, tell := range map[string]func(process.Store){
		"serves": func(s process.Store) { tellStored(s, nil); tellStored(s, fault.New(fault.Internal, "too late")) },
		"fails": func(s process.Store) {
			tellStored(s, fault.New(fault.AgentRunning, "another (pid 7)"))
			tellStored(s, nil)
		},
		"dies": func(process.Store) {},
	} {
		store := process.NewDirectStore()
		from, to, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Put(answerName, to); err != nil {
			t.Fatal(err)
		}
		to.Close()
		tell(store)
		store.Close()
		want := map[string]fault.Code{"serves": "", "fails": fault.AgentRunning, "dies": fault.Internal}[name]
		if err := await(ctx, from); fault.CodeOf(err) != want || (err != nil) != (want != "") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDetachedForgetsTheCaller(t *testing.T) {
	got := detached([]string{"A=1", "NOTIFY_SOCKET=/x", "LISTEN_FDS=1", "LISTEN_PID=7", "B=2", "WATCHDOG_USEC=1"})
	if want := []string{"A=1", "B=2"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
}

func TestOwnProgram(t *testing.T) {
	link := t.TempDir() + "/current"
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	if got := OwnProgram(link); got != link {
		t.Errorf("started by a link: %s", got)
	}
	for _, other := range []string{"/bin/sh", "no-such-program", ""} {
		if got := OwnProgram(other); got != self {
			t.Errorf("%q: %s", other, got)
		}
	}
}
