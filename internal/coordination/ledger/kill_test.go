package ledger

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

const childEnv = "LEDGER_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		fmt.Fprintln(os.Stderr, child())
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// inherited is a store whose file is descriptor 3.
type inherited struct{}

func (inherited) Put(string, *os.File) error        { return nil }
func (inherited) Get(name string) (*os.File, error) { return os.NewFile(3, name), nil }

// child appends numbers, and says each when it is in the ledger, until it is killed.
func child() error {
	l, err := Open(inherited{}, "x")
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		if err := l.Append([]byte(strconv.Itoa(n))); err != nil {
			return err
		}
		if _, err := fmt.Println(n); err != nil {
			return err
		}
	}
}

// A process that is killed while it appends has lost nothing that it had been told was
// written, time after time.
func TestKilled(t *testing.T) {
	s := with(t, []byte(mark))
	kept := 0
	for round := range 5 {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), childEnv+"=1")
		cmd.ExtraFiles = []*os.File{s.files["x"]}
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines, said := bufio.NewScanner(out), 0
		for said < 100*(round+1) && lines.Scan() {
			said++
		}
		if err := cmd.Process.Signal(unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // what it had said before it died
			said++
		}
		_ = cmd.Wait() // killed
		got := all(t, open(t, s))[kept:]
		if len(got) < said {
			t.Fatalf("%d are there, it said %d", len(got), said)
		}
		for i, rec := range got {
			if rec != strconv.Itoa(i) {
				t.Fatalf("record %d is %q", i, rec)
			}
		}
		kept += len(got)
	}
}
