package supervisor

import (
	"os"
	"syscall"
	"testing"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/process/processtest"
	"github.com/muster-run/muster/internal/sdnotify"
	"github.com/muster-run/muster/internal/supervisor/attempt"
	"github.com/muster-run/muster/spec"
)

// BenchmarkAdopt is New over 100 workers that run, with their sd_notify sockets.
func BenchmarkAdopt(b *testing.B) {
	fake, store, dir := processtest.NewFake(), process.NewDirectStore(), b.TempDir()
	defer store.Close()
	begin := func() *Supervisor {
		life := fake.Connect(store)
		s, err := New(Options{
			Project: "test", Starter: life, Store: life.Store(), Events: &event.Hub{}, LogDir: dir, RunDir: dir,
			bind: func(spec.Listener) (*os.File, error) {
				fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
				return os.NewFile(uintptr(fd), "socket"), err
			},
			sys: &attempt.Sys{
				Accepting: func([]int, []uint64) listener.Answer { return listener.Yes },
				Foreign:   func([]int, map[uint64]bool) ([]listener.Socket, error) { return nil, nil },
				Members:   func(process.Proc) []int { return nil },
				Notify:    func(path string, uid int) (attempt.Notifier, error) { return sdnotify.Listen(path, uid) },
				AdoptNotify: func(f *os.File, path string, uid int) (attempt.Notifier, error) {
					return sdnotify.Adopt(f, path, uid)
				},
			},
		})
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	s := begin()
	if f := s.Apply(b.Context(), specOf(app("web", 100))).Fault(); f != nil {
		b.Fatal(f)
	}
	for b.Loop() {
		b.StopTimer()
		s.Leave()
		b.StartTimer()
		s = begin()
		if s.Adopted() != 100 {
			b.Fatalf("%d adopted", s.Adopted())
		}
	}
	b.StopTimer()
	if err := s.Shutdown(b.Context(), true); err != nil {
		b.Error(err)
	}
}
