package output

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/internal/output/gz"
	"github.com/muster-run/muster/internal/output/zst"
)

// packings are all there are; nil: none.
func packings() map[string]Packing {
	return map[string]Packing{"zst": zst.Packing{}, "gz": gz.Packing{}, "none": nil}
}

// TestPackings: rotated files are read back whatever form they are kept in, also by
// the next Log and without one, and the oldest are deleted.
func TestPackings(t *testing.T) {
	for name, p := range packings() {
		t.Run(name, func(t *testing.T) {
			o := small(t)
			o.Packing, o.Log.MaxFiles = p, 100
			l := open(t, o)
			want := numbered("line", 0, 2000)
			printed(t, l, Worker{}, want)
			waitFor(t, "compression", func() bool { return len(inForm(t, o)) > 4 && (p == nil || len(inPlain(t, o)) == 0) })
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			var alone []api.Record
			if err := (File{o.File, "web", p}).Read(Filter{}, -1, collect(&alone)); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(strings.Split(strings.TrimSpace(want), "\n"), lines(alone)); diff != "" {
				t.Error(diff)
			}
			o.Log.MaxFiles = 2
			l = open(t, o)
			waitFor(t, "deletion", func() bool { return len(inForm(t, o))+len(inPlain(t, o)) == 1 })
			if got := tail(t, l, Filter{}, -1); len(got) == 0 || got[len(got)-1].Line != "line 1999" {
				t.Error(len(got))
			}
		})
	}
}

// inForm are the rotated files in the form that the setting asks for, inPlain those
// that still wait for it.
func inForm(t *testing.T, o Options) []string {
	if o.Packing == nil {
		return glob(t, o.File+"-*")
	}
	return glob(t, o.File+"-*"+o.Packing.Suffix())
}

func inPlain(t *testing.T, o Options) []string {
	if o.Packing == nil {
		return nil
	}
	return glob(t, o.File+"-*Z")
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestUnpackOfRubbish: what is damaged, cut short or something else is an error, and
// what was before it is there.
func TestUnpackOfRubbish(t *testing.T) {
	for name, p := range packings() {
		if p == nil {
			continue
		}
		var whole bytes.Buffer
		text := numbered("line", 0, 10_000)
		if err := p.Pack(&whole, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := unpacked(p, whole.Bytes()); err != nil || got != text {
			t.Errorf("%s: %d of %d bytes, %v", name, len(got), len(text), err)
		}
		if got, err := unpacked(p, whole.Bytes()[:whole.Len()-1]); err == nil || !strings.HasPrefix(text, got) {
			t.Errorf("%s: cut short: %d bytes, %v", name, len(got), err)
		}
		if got, err := unpacked(p, []byte("rubbish, and long enough to be looked at")); err == nil || got != "" {
			t.Errorf("%s: rubbish: %q, %v", name, got, err)
		}
	}
}

func unpacked(p Packing, data []byte) (string, error) {
	r, err := p.Unpack(bytes.NewReader(data))
	if err != nil {
		return "", err
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	return string(text), err
}

// TestPackFails: a file that cannot be packed stays, and nothing half-made does.
func TestPackFails(t *testing.T) {
	for name, p := range packings() {
		if p == nil {
			continue
		}
		path := filepath.Join(t.TempDir(), "web.log-x")
		if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
			t.Fatal(err)
		}
		b := backup{path: path, packing: p}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.pack(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		if got := glob(t, path+"*"); len(got) != 1 || got[0] != path {
			t.Errorf("%s: %q", name, got)
		}
	}
}
