package sdnotify

import (
	"math"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestParse(t *testing.T) {
	tests := map[string]Message{
		"READY=1":                       {Ready: true},
		"READY=1\n":                     {Ready: true},
		"READY=1\x00":                   {Ready: true},
		"READY=0":                       {},
		"READY=":                        {},
		"ready=1":                       {},
		"READY":                         {},
		"=1":                            {},
		"\n\n\n":                        {},
		"READY=1\nREADY=0":              {Ready: true},
		"STATUS=":                       {HasStatus: true},
		"STATUS=a=b":                    {Status: "a=b", HasStatus: true},
		"STATUS=a\nSTATUS=b":            {Status: "b", HasStatus: true},
		"STATUS=\x1b[31mred\a\t":        {Status: " [31mred  ", HasStatus: true},
		"STATUS=\xff\xfe":               {Status: "\uFFFD", HasStatus: true},
		"RELOADING=1\nMONOTONIC_USEC=8": {Reloading: true},
		"STOPPING=1":                    {Stopping: true},
		"WATCHDOG=1":                    {WatchdogPing: true},
		"WATCHDOG=trigger":              {WatchdogTrigger: true},
		"WATCHDOG=2":                    {},
		"WATCHDOG_USEC=2000000":         {WatchdogInterval: 2 * time.Second},
		"WATCHDOG_USEC=0":               {},
		"WATCHDOG_USEC=-1":              {},
		"EXTEND_TIMEOUT_USEC=500000":    {Extend: 500 * time.Millisecond},
		"EXTEND_TIMEOUT_USEC=18446744073709551615": {Extend: math.MaxInt64},
		"EXTEND_TIMEOUT_USEC=18446744073709551616": {},
		"MAINPID=4711":                 {MainPID: 4711},
		"MAINPID=4711\nMAINPID=x":      {MainPID: 4711},
		"MAINPID=0":                    {},
		"MAINPID=-1":                   {},
		"MAINPID=99999999999":          {},
		"MAINPID= 12":                  {},
		"ERRNO=2":                      {Errno: 2},
		"BARRIER=1":                    {},
		"FDSTORE=1\nFDNAME=x":          {},
		"X_MINE=1\nREADY=1\nMAINPID=7": {Ready: true, MainPID: 7},
	}
	for text, want := range tests {
		if got, ok := Parse(text); !ok || got != want {
			t.Errorf("%q: %+v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"READY=1\x00STATUS=x", "\x00READY=1", "READY=1\x00\x00"} {
		if got, ok := Parse(text); ok || got != (Message{}) {
			t.Errorf("%q: %+v, %v", text, got, ok)
		}
	}
}

func TestLongStatus(t *testing.T) {
	m, _ := Parse("STATUS=" + strings.Repeat("ä", StatusMax))
	if len(m.Status) > StatusMax || len(m.Status) < StatusMax-1 || !utf8.ValidString(m.Status) {
		t.Errorf("%d bytes", len(m.Status))
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"READY=1\nSTATUS=ok\nMAINPID=12", "WATCHDOG=trigger", "STATUS=\xff\x1b[0m", "EXTEND_TIMEOUT_USEC=9999999999999999999",
		"\x00", "ERRNO=2\nBARRIER=1", "A=\n=B\n==\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, ok := Parse(text)
		if !ok && m != (Message{}) {
			t.Errorf("refused, yet %+v", m)
		}
		if m.MainPID < 0 || m.Errno < 0 || m.Extend < 0 || m.WatchdogInterval < 0 || len(m.Status) > StatusMax {
			t.Errorf("%+v", m)
		}
		if !utf8.ValidString(m.Status) || strings.ContainsFunc(m.Status, unicode.IsControl) || (m.Status != "" && !m.HasStatus) {
			t.Errorf("status %q", m.Status)
		}
		first := m
		if m.absorb(first) && (m.Status != first.Status || m.WatchdogPing != first.WatchdogPing) {
			t.Errorf("absorbing itself: %+v", m)
		}
	})
}

func TestAbsorb(t *testing.T) {
	status := func(s string) Message { return Message{Status: s, HasStatus: true, PID: len(s)} }
	ping, ready := Message{WatchdogPing: true}, Message{Ready: true}
	tests := []struct {
		first, later, want Message
		ok                 bool
	}{
		{status("a"), status("bc"), status("bc"), true},
		{ping, ping, ping, true},
		{ping, status("a"), Message{Status: "a", HasStatus: true, WatchdogPing: true, PID: 1}, true},
		{ready, ready, ready, true},
		{ready, status("a"), ready, false},
		{status("a"), ready, status("a"), false},
		{Message{Reloading: true}, ready, Message{Reloading: true}, false},
		{Message{MainPID: 1}, Message{MainPID: 2}, Message{MainPID: 1}, false},
		{Message{Ready: true, Status: "a", HasStatus: true}, Message{Ready: true, Status: "b", HasStatus: true}, Message{Ready: true, Status: "b", HasStatus: true}, true},
	}
	for i, tt := range tests {
		got := tt.first
		if ok := got.absorb(tt.later); ok != tt.ok || got != tt.want {
			t.Errorf("%d: %+v, %v", i, got, ok)
		}
	}
}
