package rig

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/muster-run/muster/api"
)

// Records reads an app's log file, and the rotated ones before it.
func (p *Project) Records(app string) []api.Record {
	p.t.Helper()
	files, _ := filepath.Glob(filepath.Join(p.State, "*", "logs", app+"*"))
	slices.SortFunc(files, func(a, b string) int { // rotated ones first, by time
		plainA, plainB := filepath.Base(a) == app+".log", filepath.Base(b) == app+".log"
		switch {
		case plainA == plainB:
			return strings.Compare(a, b)
		case plainA:
			return 1
		}
		return -1
	})
	var all []api.Record
	for _, f := range files {
		all = append(all, decodeRecords(p.t, f)...)
	}
	return all
}

func decodeRecords(t testing.TB, file string) []api.Record {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(file, ".zst") {
		d, err := zstd.NewReader(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if text, err = d.DecodeAll(text, nil); err != nil {
			t.Fatal(err)
		}
	}
	var list []api.Record
	scan := bufio.NewScanner(bytes.NewReader(text))
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		var r api.Record
		if err := json.Unmarshal(scan.Bytes(), &r); err != nil {
			t.Fatalf("%s: %q is no record: %v", file, scan.Text(), err)
		}
		list = append(list, r)
	}
	return list
}

// Ask opens a connection of its own, and returns the body or the error.
func Ask(url string) string {
	tr := &http.Transport{DisableKeepAlives: true}
	defer tr.CloseIdleConnections()
	c := http.Client{Timeout: 10 * time.Second, Transport: tr}
	resp, err := c.Get(url)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}

// Disjoint fails the test when a process of before is still there.
func Disjoint(t testing.TB, before, after map[int]int) {
	t.Helper()
	for slot, pid := range before {
		for other, now := range after {
			if pid == now {
				t.Errorf("worker #%d (pid %d) is still there, as #%d", slot, pid, other)
			}
		}
		if Alive(pid) {
			t.Errorf("the process of worker #%d (pid %d) still runs", slot, pid)
		}
	}
	if len(after) < len(before) {
		t.Errorf("ready before %v, after %v", before, after)
	}
}
