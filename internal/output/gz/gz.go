// Package gz keeps rotated log files compressed with gzip: an output.Packing that
// needs nothing but the standard library. A file that was cut short, or is not in
// this form, is read up to there and then fails.
package gz

import (
	"compress/gzip"
	"errors"
	"io"
)

// Packing implements output.Packing. The zero value is ready.
type Packing struct{}

// Suffix implements output.Packing.
func (Packing) Suffix() string { return ".gz" }

// Pack implements output.Packing.
func (Packing) Pack(dst io.Writer, src io.Reader) error {
	z := gzip.NewWriter(dst)
	_, err := io.Copy(z, src)
	return errors.Join(err, z.Close())
}

// Unpack implements output.Packing.
func (Packing) Unpack(src io.Reader) (io.ReadCloser, error) { return gzip.NewReader(src) }
