package spec

import "github.com/muster-run/muster/spec/scalar"

// Values with a unit; see package scalar for their text forms.
type (
	// Duration is a time.Duration whose text form is Go's ("1m30s").
	Duration = scalar.Duration
	// Bytes is a size whose text form may carry a unit: 512, 64KiB, 50MB, 1GiB.
	Bytes = scalar.Bytes
	// FileMode is a permission set whose text form is octal: "0600".
	FileMode = scalar.FileMode
)

// Invalid is the error of everything here that reads a text form.
type Invalid = scalar.Invalid

func invalid(format string, args ...any) error { return scalar.Invalidf(format, args...) }
