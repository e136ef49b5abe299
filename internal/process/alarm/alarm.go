package alarm

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Alarm holds deadlines by ID. Safe for concurrent use.
type Alarm struct {
	timer *os.File

	mu    sync.Mutex
	times map[string]int64 // nanoseconds of CLOCK_BOOTTIME
}

// New makes an Alarm without deadlines.
func New() (*Alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	return &Alarm{timer: os.NewFile(uintptr(fd), "alarm"), times: map[string]int64{}}, nil
}

// Set moves the deadline of an ID; zero removes it.
func (a *Alarm) Set(id string, t time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, had := a.times[id]
	if t.IsZero() {
		if !had {
			return
		}
		delete(a.times, id)
	} else {
		a.times[id] = BootTime() + int64(time.Until(t))
	}
	a.arm()
}

// arm sets the timer to the earliest deadline; mu is held.
func (a *Alarm) arm() {
	var spec unix.ItimerSpec // zero: off
	first := int64(0)
	for _, at := range a.times {
		if first == 0 || at < first {
			first = at
		}
	}
	if len(a.times) > 0 {
		spec.Value = unix.NsecToTimespec(max(first, 1)) // 0 would be off
	}
	raw, err := a.timer.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.TimerfdSettime(int(fd), unix.TFD_TIMER_ABSTIME, &spec, nil)
	})
}

// Wait blocks until deadlines pass, and forgets them. It ends with an error
// when the alarm is closed.
func (a *Alarm) Wait() ([]string, error) {
	var count [8]byte
	if _, err := a.timer.Read(count[:]); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	var ids []string
	now := BootTime()
	for id, at := range a.times {
		if at <= now {
			ids = append(ids, id)
			delete(a.times, id)
		}
	}
	a.arm()
	return ids, nil
}

// Close ends Wait.
func (a *Alarm) Close() { a.timer.Close() }

// BootTime is now on CLOCK_BOOTTIME, in nanoseconds: the same in every process of
// the machine, whatever is done to the clock.
func BootTime() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return ts.Nano()
}
