package config

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/fault"
)

// Files that are no good YAML have a defined outcome, at a place.
func TestStrangeFiles(t *testing.T) {
	long := strings.Repeat("a", 200)
	for text, want := range map[string][]string{
		"version: 1\napps:\n\tweb: 1\n":                        {"3:1: a tab stands in the indentation; indent with spaces"},
		head + "    dir: a: b\n":                               {`5:11: a second ": " stands in one line; quote the value`},
		head + "    dir: @x\n":                                 {"5:10: a value cannot begin with @; quote the value"},
		head + "    tags: [a, b\n    dir: x\n":                 {"5:11: what [ begins here is not closed; close it, at the latest before line 6"},
		head + "    dir: 'x\n":                                 {"5:10: what ' begins here is not closed"},
		head + "    dir: *nope\n":                              {"unknown anchor"},
		head + "    dir: /a\n    dir: /b\n":                    {`6:5: the key "dir" stands twice; remove it here or in line 5`},
		head + "---\n" + head:                                  {"a second document begins here"},
		head + "    dir: \xff\n":                               {"5:10: the file is not UTF-8 text"},
		head + "    dir: \"a\\0b\"\n":                          {""},
		"version: 1\nx-a: &a {env: {A: *a}}\napps: {w: *a}\n":  {"contains itself", ""},
		"version: 1\napps: " + strings.Repeat("[", 100) + "\n": {""},
		"version: 1\napps: {w: {env: " + strings.Repeat("{a: ", 80) + "1" + strings.Repeat("}", 80) + "}}\n": {"nested more than 64", "this is a map", "the command is empty"},
		head + "    env: {A: " + long + "}\n    user: " + long + " x\n":                                      {"cannot be the name of an account"},
	} {
		_, err := load(t, text)
		if err == nil {
			t.Errorf("no problem in\n%s", text)
			continue
		}
		all := strings.Join(lines(t, err), "\n")
		for _, w := range want {
			if !strings.Contains(all, w) {
				t.Errorf("%q\ngives\n%s\nwant %s", text, all, w)
			}
		}
	}
	// A byte order mark, CRLF and "---" are fine.
	good(t, "\ufeff---\r\n"+strings.ReplaceAll(head, "\n", "\r\n"))
}

// An alias bomb and a 10 MiB file end at once.
func TestLargeFiles(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("version: 1\nx-a0000: &a0000 {k: v}\n")
	for i := 1; i < 12; i++ {
		bomb.WriteString("x-a" + itoa(i) + ": &a" + itoa(i) + " [" + strings.TrimSuffix(strings.Repeat("*a"+itoa(i-1)+", ", 10), ", ") + "]\n")
	}
	bomb.WriteString("apps: {w: {command: x, tags: *a0011}}\n")
	began := time.Now()
	_, err := load(t, bomb.String())
	if err == nil || !strings.Contains(strings.Join(lines(t, err), "\n"), "more than 100000 values") {
		t.Error(err)
	}
	_, err = load(t, head+"# "+strings.Repeat("x", 10<<20))
	if err == nil || !strings.Contains(err.Error(), "more than 1MiB") || fault.ExitCode(err) != 2 {
		t.Error(err)
	}
	var many strings.Builder
	many.WriteString("version: 1\napps:\n")
	for i := range 1025 {
		many.WriteString("  a" + itoa(i) + ": {command: x}\n")
	}
	bad(t, many.String(), "1025 apps are more than 1024")
	if d := time.Since(began); d > 20*time.Second {
		t.Errorf("it took %s", d)
	}
}

func itoa(n int) string {
	return string([]byte{byte('0' + n/1000%10), byte('0' + n/100%10), byte('0' + n/10%10), byte('0' + n%10)})
}

func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"missing.yaml": "no such file", ".": "it is a directory", fifo: "not a regular file", "/dev/zero": "not a regular file",
	} {
		_, err := Load(Options{Dir: dir, Path: path})
		if err == nil || !strings.Contains(err.Error(), want) || fault.ExitCode(err) != 2 {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A background agent has / as its directory: what it prints must still be found.
func TestPrinted(t *testing.T) {
	for _, c := range []struct{ dir, file, want string }{
		{"/", "/srv/muster.yaml", "/srv/muster.yaml"},
		{"/srv", "/srv/muster.yaml", "muster.yaml"},
		{"/srv/a", "/srv/muster.yaml", "../muster.yaml"},
		{"/srv/a/b", "/srv/muster.yaml", "/srv/muster.yaml"},
	} {
		if got := printed(c.dir, c.file); got != c.want {
			t.Errorf("printed(%q, %q) = %q, want %q", c.dir, c.file, got, c.want)
		}
	}
}
