package nodejs

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A told is what testdata/preload/rig.cjs prints.
type told struct {
	Answered, Lost, Closing int
	Code                    *int // exit code of the worker
	Messages                []map[string]any
}

func TestWorkersLeaveWithoutHangingUp(t *testing.T) {
	for _, c := range []struct{ name, kind, story string }{
		{"busy keep-alive clients", "http", "busy"},
		{"responses that insist on keep-alive", "keepalive", "busy"},
		{"an idle keep-alive client", "http", "idle"},
		{"HTTP/2 streams", "http2", "streams"},
	} {
		eachNode(t, c.name, func(t *testing.T, node string) {
			got := story(t, node, c.kind, c.story, preloadFile(t))
			if got.Lost != 0 || got.Answered == 0 || got.Closing == 0 || got.Code == nil || *got.Code != 0 {
				t.Errorf("answered %d, lost %d, told to close %d, code %v", got.Answered, got.Lost, got.Closing, got.Code)
			}
		})
	}
}

func TestWebSocketsAreClosedAtAQuietMoment(t *testing.T) {
	for _, s := range []string{"talk", "quiet"} {
		eachNode(t, s, func(t *testing.T, node string) {
			got := story(t, node, "websocket", s, preloadFile(t))
			if got.Lost != 0 || got.Answered == 0 || got.Closing != 1012 || got.Code == nil || *got.Code != 0 {
				t.Errorf("answered %d, lost %d, close code %d, code %v", got.Answered, got.Lost, got.Closing, got.Code)
			}
		})
	}
}

// The same without the preload: the idle client loses its request, so the story can tell.
func TestTheStoryOfTheIdleClientCanFail(t *testing.T) {
	eachNode(t, "plain", func(t *testing.T, node string) {
		if got := story(t, node, "http", "idle", ""); got.Lost != 1 {
			t.Errorf("lost %d", got.Lost)
		}
	})
}

func TestASilentClientIsNotWaitedForForEver(t *testing.T) {
	eachNode(t, "silent", func(t *testing.T, node string) {
		start := time.Now()
		got := story(t, node, "http", "silent", preloadFile(t))
		if took := time.Since(start); took < 3*time.Second || took > 10*time.Second {
			t.Errorf("the worker ended after %v, MUSTER_DRAIN_MS is 3000", took)
		}
		if got.Code == nil || *got.Code != 0 {
			t.Errorf("code %v", got.Code)
		}
	})
}

func TestAScriptEndsByItself(t *testing.T) {
	for _, c := range []struct{ kind, story string }{{"nothing", "ends"}, {"listener", "told"}} {
		eachNode(t, c.kind, func(t *testing.T, node string) {
			got := story(t, node, c.kind, c.story, preloadFile(t))
			if got.Lost != 0 || got.Code == nil || *got.Code != 0 {
				t.Errorf("ended too early %d, code %v", got.Lost, got.Code)
			}
		})
	}
}

func TestOpenConnectionsAreCounted(t *testing.T) {
	eachNode(t, "count", func(t *testing.T, node string) {
		got := story(t, node, "http", "count", preloadFile(t))
		if len(got.Messages) != 2 {
			t.Fatalf("messages %v", got.Messages)
		}
		for i, open := range []float64{1, 0} {
			if m := got.Messages[i]; m["cmd"] != "MUSTER_CONNECTIONS" || m["open"] != open {
				t.Errorf("message %d is %v", i, m)
			}
		}
	})
}

func TestThePreloadStaysInItsWorker(t *testing.T) {
	eachNode(t, "options", func(t *testing.T, node string) {
		link := filepath.Join(t.TempDir(), `a "link" with \ in it`)
		if err := os.Symlink(filepath.Dir(preloadFile(t)), link); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{preloadFile(t), filepath.Join(link, "preload.cjs")} {
			got := story(t, node, "options", "ends", path)
			if len(got.Messages) != 1 {
				t.Fatalf("%s: messages %v", path, got.Messages)
			}
			m := got.Messages[0]
			if m["options"] != "--no-warnings" || m["child"] != "--no-warnings,," || m["listeners"] != 0.0 {
				t.Errorf("%s: options and listeners are %v", path, m)
			}
		}
	})
}

// A program that is no worker of muster is as it would be without the preload.
func TestThePreloadIsInertElsewhere(t *testing.T) {
	eachNode(t, "inert", func(t *testing.T, node string) {
		const look = `
			const net = require('net');
			const server = net.createServer().listen(0, () => {
				console.log(Object.hasOwn(server, 'emit'), process.listenerCount('internalMessage'),
					require('cluster').isPrimary, process.env.NODE_OPTIONS);
				server.close();
			});`
		cmd := exec.Command(node, "-e", look)
		cmd.Env = append(os.Environ(), "NODE_OPTIONS=--require "+preloadFile(t))
		out, err := cmd.CombinedOutput()
		if err != nil || string(out) != "false 0 true undefined\n" {
			t.Errorf("%v: %s", err, out)
		}
	})
}

func TestPreloadIsTheCallers(t *testing.T) {
	first := Preload()
	first[0] = 'x'
	if bytes.Equal(first, Preload()) {
		t.Error("a change of what Preload returned changes what it returns next")
	}
}

// eachNode runs test with the node of the machine and, if MUSTER_TEST_NODES names a
// directory, with each bin/node below it (installed by npm, or unpacked).
func eachNode(t *testing.T, name string, test func(t *testing.T, node string)) {
	t.Helper()
	own, err := exec.LookPath("node")
	if err != nil {
		t.Fatal(err)
	}
	nodes := []string{own}
	if dir := os.Getenv("MUSTER_TEST_NODES"); dir != "" {
		for _, pattern := range []string{"*/bin/node", "*/node_modules/node-linux-*/bin/node"} {
			found, err := filepath.Glob(filepath.Join(dir, pattern))
			if err != nil {
				t.Fatal(err)
			}
			nodes = append(nodes, found...)
		}
	}
	for _, node := range nodes {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			if len(nodes) == 1 {
				t.Parallel()
			}
			test(t, node)
			if t.Failed() {
				t.Log(node)
			}
		})
	}
}

// story runs testdata/preload/rig.cjs and returns what it tells.
func story(t *testing.T, node, kind, story, preload string) told {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, filepath.Join("testdata", "preload", "rig.cjs"), kind, story)
	cmd.Env = append(os.Environ(), "PRELOAD="+preload)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var got told
	if err == nil {
		err = json.Unmarshal(out, &got)
	}
	if err != nil {
		t.Fatalf("%v: %s%s", err, out, stderr.String())
	}
	return got
}

// preloadFile writes the preload to a directory of the test.
func preloadFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "preload.cjs")
	if err := os.WriteFile(path, Preload(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
