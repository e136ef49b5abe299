// Package scalar has the values of a configuration that are written with a unit:
// durations, sizes and file modes.
package scalar

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration whose text form is Go's ("1m30s").
type Duration time.Duration

// D is the duration as the standard library's type.
func (d Duration) D() time.Duration { return time.Duration(d) }

// String is Go's form without trailing zero units: "30s", "1m".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. "d" (24 h) is understood
// as a last unit of its own, such as "2d". Negative values are refused.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := parseDuration(string(text))
	if err != nil || v < 0 {
		return Invalidf("%q is no duration: write it like 500ms, 30s, 5m, 2h or 1d", text)
	}
	*d = Duration(v)
	return nil
}

func parseDuration(s string) (time.Duration, error) {
	days, ok := strings.CutSuffix(s, "d")
	if !ok {
		return time.ParseDuration(s)
	}
	n, err := strconv.ParseFloat(days, 64)
	if !(n >= 0 && n <= 36500) { // NaN too
		return -1, err
	}
	return time.Duration(n * float64(24*time.Hour)), err
}

// Bytes is a size whose text form may carry a unit: 512, 64KiB, 50MB, 1GiB.
type Bytes int64

var byteUnits = []struct {
	suffix string
	factor int64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"TiB", 1 << 40},
	{"kB", 1e3},
	{"KB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"TB", 1e12},
	{"K", 1 << 10},
	{"M", 1 << 20},
	{"G", 1 << 30},
	{"T", 1 << 40},
	{"B", 1},
}

// String is the largest unit that gives a whole number, binary first.
func (b Bytes) String() string {
	if b == 0 {
		return "0"
	}
	for _, suffix := range []string{"TiB", "GiB", "MiB", "KiB", "TB", "GB", "MB"} {
		for _, u := range byteUnits {
			if u.suffix == suffix && int64(b)%u.factor == 0 {
				return strconv.FormatInt(int64(b)/u.factor, 10) + suffix
			}
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// MarshalText implements encoding.TextMarshaler.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. Negative and fractional
// bytes are refused; 1.5GiB is fine.
func (b *Bytes) UnmarshalText(text []byte) error {
	s, factor := string(text), int64(1)
	for _, u := range byteUnits {
		if rest, ok := strings.CutSuffix(s, u.suffix); ok {
			s, factor = strings.TrimSpace(rest), u.factor
			break
		}
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 && n <= math.MaxInt64/factor {
		*b = Bytes(n * factor) // exact, also where a float is not
		return nil
	}
	n, err := strconv.ParseFloat(s, 64)
	v := n * float64(factor)
	if err != nil || v < 0 || v >= 1<<62 || v != float64(int64(v)) {
		return Invalidf("%q is no size: write it like 512MiB, 50MB or 1.5GiB", text)
	}
	*b = Bytes(v)
	return nil
}

// FileMode is a permission set whose text form is octal: "0600".
type FileMode uint32

// String is four octal digits.
func (m FileMode) String() string { return fmt.Sprintf("%04o", uint32(m)) }

// MarshalText implements encoding.TextMarshaler.
func (m FileMode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler: 0 to 07777.
func (m *FileMode) UnmarshalText(text []byte) error {
	v, err := strconv.ParseUint(strings.TrimPrefix(string(text), "0o"), 8, 32)
	if err != nil || v > 0o7777 {
		return Invalidf("%q is no file mode: write it in octal, like 0600 or 0660", text)
	}
	*m = FileMode(v)
	return nil
}
