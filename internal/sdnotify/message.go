package sdnotify

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// StatusMax is the longest STATUS that is kept, in bytes.
const StatusMax = 1 << 10

// Message is what one datagram said. Fields it did not mention are zero.
type Message struct {
	Ready, Reloading, Stopping bool
	// WatchdogPing is WATCHDOG=1; WatchdogTrigger is WATCHDOG=trigger: the
	// worker asks to be treated as if it had missed its watchdog.
	WatchdogPing, WatchdogTrigger bool
	// Status is one line of text; HasStatus tells an empty STATUS= from none.
	Status    string
	HasStatus bool
	// MainPID is the new main process, as the worker sees it.
	MainPID int
	// WatchdogInterval is WATCHDOG_USEC, Extend is EXTEND_TIMEOUT_USEC.
	WatchdogInterval, Extend time.Duration
	// Errno is a number of errno(3) that says why a start failed.
	Errno int
	// UID and PID of the sender, from the kernel. The process may be gone.
	UID uint32
	PID int

	receipt *receipt // nil: it has left the socket
}

// Parse reads the lines of a datagram. Unknown keys, and values out of range, are
// ignored; so is BARRIER, as every descriptor that comes along is closed anyway.
// ok is false when the text holds a zero byte before its end.
func Parse(text string) (m Message, ok bool) {
	text = strings.TrimSuffix(text, "\x00")
	if strings.ContainsRune(text, 0) {
		return Message{}, false
	}
	for line := range strings.SplitSeq(text, "\n") {
		if key, value, found := strings.Cut(line, "="); found {
			m.set(key, value)
		}
	}
	return m, true
}

func (m *Message) set(key, value string) {
	switch key {
	case "READY":
		m.Ready = m.Ready || value == "1"
	case "RELOADING":
		m.Reloading = m.Reloading || value == "1"
	case "STOPPING":
		m.Stopping = m.Stopping || value == "1"
	case "WATCHDOG":
		m.WatchdogPing = m.WatchdogPing || value == "1"
		m.WatchdogTrigger = m.WatchdogTrigger || value == "trigger"
	case "STATUS":
		m.Status, m.HasStatus = clean(value), true
	case "MAINPID":
		m.MainPID = number(value, m.MainPID)
	case "ERRNO":
		m.Errno = number(value, m.Errno)
	case "WATCHDOG_USEC":
		m.WatchdogInterval = micros(value, m.WatchdogInterval)
	case "EXTEND_TIMEOUT_USEC":
		m.Extend = micros(value, m.Extend)
	}
}

// number reads a positive 32-bit number; otherwise it stays what it was.
func number(value string, before int) int {
	n, err := strconv.ParseInt(value, 10, 32)
	if err != nil || n <= 0 {
		return before
	}
	return int(n)
}

// micros reads a positive number of microseconds; more than a Duration holds is
// its maximum ("infinity" for all that matters).
func micros(value string, before time.Duration) time.Duration {
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil || n == 0 {
		return before
	}
	if n > math.MaxInt64/uint64(time.Microsecond) {
		return math.MaxInt64
	}
	return time.Duration(n) * time.Microsecond
}

// clean makes text that may be shown on a terminal.
func clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if len(text) > StatusMax {
		text = strings.ToValidUTF8(text[:StatusMax], "")
	}
	return text
}

// says is what a message mentions besides its status, a ping and its sender.
func (m Message) says() Message {
	m.Status, m.HasStatus, m.WatchdogPing, m.UID, m.PID, m.receipt = "", false, false, 0, 0, nil
	return m
}

// empty says that nothing understood was in the message.
func (m Message) empty() bool {
	return m.says() == Message{} && !m.HasStatus && !m.WatchdogPing
}

// absorb takes a later message in, when nothing is lost by that: but for a status
// and a watchdog ping, both say the same.
func (m *Message) absorb(later Message) bool {
	if m.says() != later.says() {
		return false
	}
	if later.HasStatus {
		m.Status, m.HasStatus = later.Status, true
	}
	m.WatchdogPing = m.WatchdogPing || later.WatchdogPing
	m.UID, m.PID = later.UID, later.PID
	return true
}
