package scalar

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// roundTrip: the text form reads as the value itself.
func roundTrip[T comparable, P interface {
	*T
	UnmarshalText([]byte) error
	MarshalText() ([]byte, error)
}](t *rapid.T, v T) {
	text, err := P(&v).MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var again T
	if err := P(&again).UnmarshalText(text); err != nil || again != v {
		t.Fatalf("%v is %q, which is %v (%v)", v, text, again, err)
	}
}

func TestTextRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		roundTrip(t, Duration(rapid.Int64Min(0).Draw(t, "duration")))
		roundTrip(t, Duration(rapid.Int64Range(0, 1e6).Draw(t, "seconds"))*Duration(time.Second))
		roundTrip(t, Bytes(rapid.Int64Min(0).Draw(t, "bytes")))
		roundTrip(t, Bytes(rapid.Int64Range(0, 1<<20).Draw(t, "MiB"))<<20)
		roundTrip(t, FileMode(rapid.Uint32Range(0, 0o7777).Draw(t, "mode")))
	})
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "500ms": 500 * time.Millisecond, "1m30s": 90 * time.Second, "2d": 48 * time.Hour, "0.5d": 12 * time.Hour, "1h": time.Hour,
	} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || d.D() != want {
			t.Errorf("%q: %v, %v", text, d, err)
		}
	}
	for _, text := range []string{"", "30", "-1s", "1 minute", "NaNd", "1e9d", "-1d", "infd", "9999999h", "d", "s"} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken for %v", text, d)
		}
	}
	for d, want := range map[time.Duration]string{0: "0s", time.Minute: "1m", time.Hour: "1h", 90 * time.Minute: "1h30m", time.Hour + time.Second: "1h0m1s"} {
		if got := Duration(d).String(); got != want {
			t.Errorf("%v is written %q, want %q", d, got, want)
		}
	}
}

func TestBytes(t *testing.T) {
	for text, want := range map[string]Bytes{
		"0": 0, "512": 512, "64KiB": 64 << 10, "50MB": 50e6, "1.5GiB": 3 << 29, "1 GiB": 1 << 30, "2K": 2048, "7B": 7, "0.5KiB": 512,
	} {
		var b Bytes
		if err := b.UnmarshalText([]byte(text)); err != nil || b != want {
			t.Errorf("%q: %d, %v", text, b, err)
		}
	}
	for _, text := range []string{"", "-1", "0.5", "1.3B", "NaN", "Inf", "9e18TiB", "MiB", "1XB", "0x10"} {
		var b Bytes
		if err := b.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken for %d", text, b)
		}
	}
}

func TestFileMode(t *testing.T) {
	for text, want := range map[string]FileMode{"0600": 0o600, "600": 0o600, "0o660": 0o660, "7777": 0o7777, "0": 0} {
		var m FileMode
		if err := m.UnmarshalText([]byte(text)); err != nil || m != want {
			t.Errorf("%q: %v, %v", text, m, err)
		}
	}
	for _, text := range []string{"", "rw", "0888", "10000", "-1", "0x1ff"} {
		var m FileMode
		if err := m.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken for %v", text, m)
		}
	}
}
