package process_test

import (
	"context"
	"os"
	"strconv"
	"syscall"
	"testing"

	"github.com/muster-run/muster/internal/process"
)

// BenchmarkBareForkExec is what every supervisor pays: fork, exec, wait.
func BenchmarkBareForkExec(b *testing.B) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	for b.Loop() {
		pid, err := syscall.ForkExec("/bin/true", []string{"true"}, &syscall.ProcAttr{
			Files: []uintptr{null.Fd(), null.Fd(), null.Fd()}, Sys: &syscall.SysProcAttr{Setsid: true},
		})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := syscall.Wait4(pid, nil, 0, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStep is the same through the exec step (of this test binary; muster
// itself is larger and has more packages to initialise).
func BenchmarkStep(b *testing.B) {
	for b.Loop() {
		if _, err := process.Run(context.Background(), process.Command{Argv: []string{"/bin/true"}, Dir: "/"}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkScan is one look at this machine with 500 more processes.
func BenchmarkScan(b *testing.B) {
	d, err := process.NewDirect(process.Options{NoCgroup: true})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	var procs []process.Proc
	for i := range 500 {
		p, err := d.Start(process.Command{ID: strconv.Itoa(i), Argv: []string{"/bin/sleep", "1000"}, Dir: "/"})
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = p.Signal(syscall.SIGKILL) }()
		procs = append(procs, p)
	}
	for b.Loop() {
		t, err := process.Scan()
		if err != nil {
			b.Fatal(err)
		}
		for _, p := range procs {
			if u := t.Usage(t.Members(p)); u.N != 1 {
				b.Fatalf("%+v", u)
			}
		}
	}
}
