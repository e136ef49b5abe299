package nodejs

import (
	"os"
	"path/filepath"
	"testing"
)

// What programs load is there for those of any user, and is always whole.
func TestInstall(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "node")
	for range 2 {
		if err := Install(dir); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string][]byte{PreloadIn(dir): Preload(), DelegateIn(dir): Delegate()} {
		text, err := os.ReadFile(path)
		if err != nil || string(text) != string(want) {
			t.Error(path, err, len(text))
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o644 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode() != 0o711|os.ModeDir {
		t.Error(info.Mode(), err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Error(entries, err)
	}
}
