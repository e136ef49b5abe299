package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// maxFile is the most bytes of a file that is read. It ends accidents; no real
// file comes near.
const maxFile = 1 << 20

// ErrNoFile: there is no configuration file in any of the places.
var ErrNoFile = errors.New("there is no muster.yaml")

// find returns the absolute path of the file to load.
func find(path, dir string, environ map[string]string) (string, error) {
	if path == "" {
		path = environ["MUSTER_CONFIG"]
	}
	if path != "" {
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		return filepath.Clean(path), nil
	}
	places := candidates(dir, environ)
	for _, file := range places {
		if info, err := os.Stat(file); err == nil && !info.IsDir() {
			return file, nil
		}
	}
	f := fault.New(fault.Config, "%w", ErrNoFile)
	f.Output = []string{"looked for:"}
	for _, file := range places {
		f.Output = append(f.Output, "  "+file)
	}
	return "", f.WithFix("write one, name one with --config FILE, or run a program without: muster run -- COMMAND")
}

// candidates are the places of the file, best first.
func candidates(dir string, environ map[string]string) (files []string) {
	for _, d := range upToRepository(dir) {
		files = append(files, filepath.Join(d, "muster.yaml"), filepath.Join(d, "muster.yml"))
	}
	home := environ["XDG_CONFIG_HOME"]
	if home == "" && environ["HOME"] != "" {
		home = filepath.Join(environ["HOME"], ".config")
	}
	if filepath.IsAbs(home) {
		files = append(files, filepath.Join(home, "muster", "muster.yaml"))
	}
	return append(files, "/etc/muster/muster.yaml")
}

// upToRepository lists dir and its parents up to the one that holds .git; only
// dir when there is none, so that nobody's file in /tmp or / is taken up.
func upToRepository(dir string) (dirs []string) {
	for d := dir; ; d = filepath.Dir(d) {
		dirs = append(dirs, d)
		if _, err := os.Lstat(filepath.Join(d, ".git")); err == nil {
			return dirs
		}
		if d == filepath.Dir(d) {
			return dirs[:1]
		}
	}
}

// printed is how a file is called in messages: relative where that is short.
func printed(dir, file string) string {
	rel, err := filepath.Rel(dir, file)
	far := dir == "/" || strings.HasPrefix(rel, filepath.Join("..", "..")) // a background agent's directory is /
	if err != nil || far {
		return file
	}
	return rel
}

// readLimited reads a file of at most maxFile bytes. A directory, a device or a
// pipe without a writer is refused before it can block.
func readLimited(file string) ([]byte, error) {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, errors.New("it is a directory")
	case !info.Mode().IsRegular() && !strings.HasPrefix(file, "/dev/fd/") && file != "/dev/stdin":
		return nil, errors.New("it is not a regular file")
	case info.Size() > maxFile:
		return nil, fmt.Errorf("it has %s, more than %s", spec.Bytes(info.Size()), spec.Bytes(maxFile))
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("it has more than %s", spec.Bytes(maxFile))
	}
	return data, err
}

// cause is an error of the system without the operation and the path.
func cause(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err.Error()
	}
	return err.Error()
}
