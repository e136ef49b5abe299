package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
)

// lastWords is how long a stream may take to end when Serve does.
const lastWords = 2 * time.Second

func eventParams() []Param {
	return []Param{
		{Name: "after", Type: "integer", Text: "Begin with the kept events above this sequence number (0: all of them). " +
			"The header Last-Event-ID says the same and wins. Neither: only new events."},
		{Name: "follow", Type: "boolean", Text: "Go on with what comes, until the reader closes; default 1."},
	}
}

// events streams the Hub: "id: SEQ", "data: EVENT". Messages with a name are
// about the stream itself: "cut" (the reader was too slow; resume with the last
// id) and "end" (the agent ends). A comment is sent where nothing else is.
func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	after, err := s.eventsAfter(r)
	if err != nil {
		return err
	}
	follow, err := boolParam(r, "follow", true)
	if err != nil {
		return err
	}
	from := s.options.Events.Subscribe(after, s.options.eventBuffer)
	defer from.Close()
	defer s.beginStream(w, r, "text/event-stream")()
	to := &sse{w: w}
	if to.mark(after) != nil || r.Method == http.MethodHead {
		return nil
	}
	if !follow {
		to.rest(from)
		to.bye(event.ErrClosed)
		return nil
	}
	s.pump(from, to, r)
	return nil
}

// pump copies events until either side ends.
func (s *Server) pump(from *event.Subscription, to *sse, r *http.Request) {
	ping := time.NewTicker(s.options.pingTime)
	defer ping.Stop()
	ending := connOf(r.Context()).end.Done()
	for {
		var err error
		select {
		case e, ok := <-from.C:
			if !ok {
				to.bye(from.Err())
				return
			}
			err = to.event(e)
		case <-ping.C:
			err = to.ping()
		case <-r.Context().Done():
			return
		case <-ending:
			to.rest(from)
			s.breakOff()
			to.bye(event.ErrClosed)
			return
		}
		if err != nil {
			return // the reader has gone away
		}
	}
}

// eventsAfter is where the reader wants to begin. What counts the sequence of
// another run of the agent begins with everything that this one has kept.
func (s *Server) eventsAfter(r *http.Request) (uint64, error) {
	text := r.Header.Get("Last-Event-ID")
	if text == "" {
		text = r.URL.Query().Get("after")
	}
	var last uint64
	if past := s.options.Events.Past(); len(past) > 0 {
		last = past[len(past)-1].Seq
	}
	if text == "" {
		return last, nil
	}
	after, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fault.New(fault.Usage, "after is %q", text).WithFix("give the number of the last event you have seen")
	}
	if after == event.Now {
		return last, nil
	}
	if other := r.Header.Get(api.AgentHeader); after > last || (other != "" && other != s.instance) {
		return 0, nil
	}
	return after, nil
}

// beginStream sends the header of an answer without an end. Its reader may take
// its time: nobody waits for it but the end of Serve, and that only a moment.
// The result is to be called after the last write.
func (s *Server) beginStream(w http.ResponseWriter, r *http.Request, media string) func() bool {
	w.Header().Set("Content-Type", media)
	w.Header().Set("X-Accel-Buffering", "no")
	c := connOf(r.Context())
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
	stop := context.AfterFunc(c.end, func() { _ = c.SetWriteDeadline(time.Now().Add(lastWords)) })
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	return stop
}

// sse writes server-sent events.
type sse struct{ w http.ResponseWriter }

// event sends one event.
func (t *sse) event(e event.Event) error {
	var text bytes.Buffer
	fmt.Fprintf(&text, "id: %d\ndata: ", e.Seq)
	j := json.NewEncoder(&text)
	j.SetEscapeHTML(false)
	if err := j.Encode(e); err != nil { // Encode ends the line
		return fmt.Errorf("cannot encode event %d: %w", e.Seq, err)
	}
	text.WriteByte('\n')
	return t.send(text.Bytes())
}

// mark says where the stream begins, so that a reader can resume before the
// first event.
func (t *sse) mark(after uint64) error {
	return t.send(fmt.Appendf(nil, ": muster events\nid: %d\n\n", after))
}

func (t *sse) ping() error { return t.send([]byte(": ping\n\n")) }

// rest sends what is already there.
func (t *sse) rest(from *event.Subscription) {
	for {
		select {
		case e, ok := <-from.C:
			if ok && t.event(e) == nil {
				continue
			}
		default:
		}
		return
	}
}

// bye tells the reader why there is no more.
func (t *sse) bye(why error) {
	name := "end"
	if errors.Is(why, event.ErrSlow) {
		name = "cut"
	}
	text, err := json.Marshal(map[string]string{"reason": why.Error()})
	if err != nil {
		return
	}
	_ = t.send(fmt.Appendf(nil, "event: %s\ndata: %s\n\n", name, text))
}

func (t *sse) send(text []byte) error {
	if _, err := t.w.Write(text); err != nil {
		return err
	}
	return http.NewResponseController(t.w).Flush()
}
