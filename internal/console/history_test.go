package console

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-run/muster/fault"
)

func TestHistory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h")
	h, err := OpenHistory(path)
	if err != nil || h.Len() != 0 {
		t.Fatal(h, err)
	}
	for _, line := range []string{"status", "status", "", "  ", " hidden", "reload web", "status", "a\nb", strings.Repeat("x", historyLine+1)} {
		h.Add(line)
	}
	text, err := os.ReadFile(path)
	if err != nil || string(text) != "status\nreload web\nstatus\n" {
		t.Errorf("%q %v", text, err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	again, err := OpenHistory(path)
	if err != nil || again.Len() != 3 || again.At(0) != "status" || again.At(1) != "reload web" {
		t.Errorf("%+v %v", again, err)
	}
	if line, i, ok := again.find("load", 0); !ok || i != 1 || line != "reload web" {
		t.Errorf("%q %d %v", line, i, ok)
	}
	if _, _, ok := again.find("load", 2); ok {
		t.Error("found once more")
	}
}

// 12: what looks like a secret is not written down.
func TestHistoryKeepsNoSecrets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h")
	h, _ := OpenHistory(path)
	for _, line := range []string{
		"exec web -- env API_TOKEN=hunter2 ./x", "login --password hunter2", "login --password=hunter2",
		`message web '{"password":"hunter2"}'`, `message web "{\"db_password\": \"hunter2\"}"`,
		"exec web -- curl https://user:hunter2@host/", "exec web -- curl -H 'Authorization: Bearer hunter2hunter2'",
		"login 'open --token hunter2",
	} {
		h.Add(line)
	}
	if text, err := os.ReadFile(path); !os.IsNotExist(err) || h.Len() != 0 {
		t.Errorf("kept: %q %q", text, h.lines)
	}
	h.Add(`message web '{"key_count":1,"type":"gc"}'`) // key is a word of secrets
	h.Add(`message web '{"type":"gc"}'`)
	if h.Len() != 1 {
		t.Errorf("kept: %q", h.lines)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h")
	var b strings.Builder
	for i := range 2*historyKept + 1 {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	h, err := OpenHistory(path)
	if err != nil || h.Len() != historyKept || h.At(0) != fmt.Sprintf("line %d", 2*historyKept) {
		t.Fatalf("%d %v", h.Len(), err)
	}
	text, _ := os.ReadFile(path)
	info, _ := os.Stat(path)
	if strings.Count(string(text), "\n") != historyKept || info.Mode().Perm() != 0o600 {
		t.Errorf("%d lines, mode %v", strings.Count(string(text), "\n"), info.Mode())
	}
}

func TestHistoryThatCannotBeKept(t *testing.T) {
	dir := t.TempDir()
	h, err := OpenHistory(dir) // a directory is no file
	if fault.CodeOf(err) != fault.StateDir {
		t.Errorf("%v", err)
	}
	h.Add("status")
	if h.Len() != 1 {
		t.Error("it does not work in memory either")
	}
	if h, err := OpenHistory(""); err != nil || h.Len() != 0 {
		t.Errorf("%v %v", h, err)
	}
}
