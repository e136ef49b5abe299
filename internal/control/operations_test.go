package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
)

// exchanging answers what it is asked.
type exchanging struct{ joined chan string }

func (exchanging) Ask(_ context.Context, a api.Ask) (api.Replies, error) {
	if a.Selector == "nobody" {
		return api.Replies{}, fault.New(fault.NoPeer, "nobody")
	}
	return api.Replies{Replies: []api.Reply{{From: a.Selector, Body: a.Body}}}, nil
}

func (exchanging) Commands() api.Commands { return api.Commands{} }

func (exchanging) Run(context.Context, api.CommandRun) (api.Replies, error) {
	return api.Replies{}, nil
}

func (exchanging) Console(_ context.Context, o api.ConsoleOrder) (api.ConsolePlace, error) {
	return api.ConsolePlace{Path: "/x/" + o.Worker}, nil
}

// Join says its line back, until the other side or Serve ends.
func (e exchanging) Join(ctx context.Context, name string, c *net.UnixConn) error {
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	e.joined <- name
	_, err := io.Copy(c, c)
	return errors.Join(err, nil)
}

func TestOperations(t *testing.T) {
	g := serve(t, func(o *Options) { o.Operations = exchanging{} })
	r, err := g.client().Ask(t.Context(), api.Ask{Selector: "web", Op: "x", Body: json.RawMessage(`{"a":1}`)})
	if err != nil || len(r.Replies) != 1 || r.Replies[0].From != "web" || string(r.Replies[0].Body) != `{"a":1}` {
		t.Errorf("%+v %v", r, err)
	}
	_, err = g.client().Ask(t.Context(), api.Ask{Selector: "nobody", Op: "x"})
	wantCode(t, err, fault.NoPeer)
	_, err = g.client().Ask(t.Context(), api.Ask{Selector: "web"})
	wantCode(t, err, fault.Usage)
	_, err = g.client().Ask(t.Context(), api.Ask{Op: "x"})
	wantCode(t, err, fault.Usage)
	_, err = g.client().Ask(t.Context(), api.Ask{Selector: "web", Op: "x", Body: json.RawMessage(`"` + strings.Repeat("x", api.MessageMax) + `"`)})
	wantCode(t, err, fault.TooLarge)
	if p, err := g.client().WorkerConsole(t.Context(), api.ConsoleOrder{Worker: "web#1"}); err != nil || p.Path != "/x/web#1" {
		t.Errorf("%+v %v", p, err)
	}
	if c, err := g.client().Commands(t.Context()); err != nil || c.Commands == nil {
		t.Errorf("%+v %v", c, err)
	}
	if r, err := g.client().RunCommand(t.Context(), api.CommandRun{Name: "x"}); err != nil || r.Replies == nil {
		t.Errorf("%+v %v", r, err)
	}
}

// join asks for the upgrade by hand.
func join(t *testing.T, g *rig, header string) (net.Conn, *http.Response) {
	t.Helper()
	c, err := net.Dial("unix", g.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, "GET /v1/join?name=me HTTP/1.1\r\nHost: muster\r\n"+header+"\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReaderSize(c, 4096), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c, answer
}

func TestJoin(t *testing.T) {
	joined := make(chan string, 1)
	g := serve(t, func(o *Options) { o.Operations = exchanging{joined} })
	c, answer := join(t, g, "Connection: Upgrade\r\nUpgrade: muster-channel\r\n")
	if answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(answer.Status)
	}
	if name := receive(t, joined); name != "me" {
		t.Error(name)
	}
	if _, err := io.WriteString(c, "{}\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(c).ReadString('\n'); line != "{}\n" || err != nil {
		t.Errorf("%q %v", line, err)
	}
	if _, answer := join(t, g, ""); answer.StatusCode != http.StatusUpgradeRequired {
		t.Error(answer.Status)
	}
	g.stop() // ends who has joined
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("%d %v", n, err)
	}
}

func TestNotifyTest(t *testing.T) {
	g := serve(t, func(o *Options) {
		o.NotifyTest = func(_ context.Context, name string) []api.Result {
			if name == "" {
				return nil
			}
			return []api.Result{{App: name, Text: "delivered"}}
		}
	})
	if out, err := g.client().NotifyTest(t.Context(), "ops"); err != nil || len(out.Results) != 1 || out.Results[0].App != "ops" {
		t.Errorf("%+v %v", out, err)
	}
	if out, err := g.client().NotifyTest(t.Context(), ""); err != nil || out.Results == nil {
		t.Errorf("%+v %v", out, err)
	}
	_, err := serve(t, nil).client().NotifyTest(t.Context(), "ops")
	wantCode(t, err, fault.Usage)
}

func TestOperationsNotOffered(t *testing.T) {
	g := serve(t, nil)
	_, err := g.client().Commands(t.Context())
	wantCode(t, err, fault.Usage)
	if _, answer := join(t, g, ""); answer.StatusCode != http.StatusNotFound {
		t.Error(answer.Status)
	}
}
