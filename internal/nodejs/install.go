package nodejs

import (
	"os"
	"path/filepath"
)

// PreloadIn and DelegateIn are where Install puts the two files.
func PreloadIn(dir string) string { return filepath.Join(dir, "preload.cjs") }

// DelegateIn is the file of Delegate, see PreloadIn.
func DelegateIn(dir string) string { return filepath.Join(dir, "delegate.cjs") }

// Install writes what Node.js programs load before their own code into dir, for
// programs of any user. Those that start meanwhile read the one or the other, whole.
func Install(dir string) error {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o711); err != nil { // whatever the umask is
		return err
	}
	for path, text := range map[string][]byte{PreloadIn(dir): preload, DelegateIn(dir): delegate} {
		if err := install(path, text); err != nil {
			return err
		}
	}
	return nil
}

func install(path string, text []byte) error {
	fresh := path + ".new"
	if err := os.WriteFile(fresh, text, 0o600); err != nil {
		return err
	}
	if err := os.Chmod(fresh, 0o644); err != nil {
		return err
	}
	return os.Rename(fresh, path)
}
