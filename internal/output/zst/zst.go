// Package zst keeps rotated log files compressed with Zstandard: an output.Packing.
// A file that was cut short, or is not in this form, is read up to there and then
// fails; no file makes a reader take more than 64 MiB.
package zst

import (
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"
)

// memoryMax bounds what a reader takes, in bytes, whatever a file asks for.
const memoryMax = 64 << 20

// Packing implements output.Packing. The zero value is ready.
type Packing struct{}

// Suffix implements output.Packing.
func (Packing) Suffix() string { return ".zst" }

// Pack implements output.Packing, with one thread.
func (Packing) Pack(dst io.Writer, src io.Reader) error {
	z, err := zstd.NewWriter(dst, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault))
	if err != nil {
		return err
	}
	_, err = io.Copy(z, src)
	return errors.Join(err, z.Close())
}

// Unpack implements output.Packing.
func (Packing) Unpack(src io.Reader) (io.ReadCloser, error) {
	z, err := zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(memoryMax))
	if err != nil {
		return nil, err
	}
	return z.IOReadCloser(), nil
}
