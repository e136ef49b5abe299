package console

import (
	"bufio"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec/secret"
)

// historyKept is how many lines are kept, historyLine the longest in bytes.
const (
	historyKept = 1000
	historyLine = 4096
)

// History is what was typed, oldest first, in a file that other consoles add to at
// the same time. Not safe for concurrent use.
type History struct {
	path  string
	lines []string
}

// OpenHistory reads the file, and shortens it where it has become long; one that is
// missing is made with the first line. "" keeps nothing beyond the process. With an
// error (E-STATE-DIR) the History works, but is not kept.
func OpenHistory(path string) (*History, error) {
	h := &History{path: path}
	if path == "" {
		return h, nil
	}
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return h, nil
	}
	if err != nil {
		return h.lost(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		h.lines = append(h.lines, lines.Text())
	}
	if err := lines.Err(); err != nil {
		return h.lost(err)
	}
	if err := f.Chmod(0o600); err != nil {
		return h.lost(err)
	}
	if n := len(h.lines); n > 2*historyKept {
		h.lines = slices.Clone(h.lines[n-historyKept:])
		if err := h.rewrite(); err != nil {
			return h.lost(err)
		}
	}
	return h, nil
}

func (h *History) lost(err error) (*History, error) {
	f := fault.New(fault.StateDir, "the history is not kept: %w", err).At(h.path)
	h.path = ""
	return h, f
}

// rewrite replaces the file: a reader sees the old one or the new one.
func (h *History) rewrite() error {
	f, err := os.CreateTemp(filepath.Dir(h.path), ".history-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.WriteString(strings.Join(h.lines, "\n") + "\n"); err != nil {
		return err
	}
	return os.Rename(f.Name(), h.path)
}

// Add keeps a line, unless it is empty, the same as the last, begins with a space, or
// has a secret in it. What cannot be written is kept in memory only.
func (h *History) Add(line string) {
	if !keeps(line) || len(h.lines) > 0 && h.lines[len(h.lines)-1] == line {
		return
	}
	h.lines = append(h.lines, line)
	if h.path == "" {
		return
	}
	f, err := os.OpenFile(h.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	_, _ = f.WriteString(line + "\n")
}

func keeps(line string) bool {
	if strings.TrimSpace(line) == "" || line[0] == ' ' || len(line) > historyLine || strings.ContainsAny(line, "\r\n") {
		return false
	}
	words, err := Words(line)
	if err != nil {
		words = strings.Fields(line)
	}
	for _, m := range jsonName.FindAllStringSubmatch(line, -1) {
		if secret.IsName(m[1]) {
			return false
		}
	}
	return secret.Text(line) == line && slices.Equal(secret.Args(words), words)
}

// jsonName finds the names of JSON members.
var jsonName = regexp.MustCompile(`"([^"]+)\\?"\s*:`)

// Len is the number of lines.
func (h *History) Len() int { return len(h.lines) }

// At is a line; 0 is the latest.
func (h *History) At(i int) string { return h.lines[len(h.lines)-1-i] }

// find is the latest line before the i-th latest that has text in it, and its index.
func (h *History) find(text string, i int) (string, int, bool) {
	for ; i < h.Len(); i++ {
		if line := h.At(i); strings.Contains(line, text) {
			return line, i, true
		}
	}
	return "", 0, false
}
