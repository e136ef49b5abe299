package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
)

const mediaJSON = "application/json"

// writer knows whether an answer has begun.
type writer struct {
	http.ResponseWriter
	begun bool
}

// WriteHeader implements http.ResponseWriter.
func (w *writer) WriteHeader(status int) {
	w.begun = true
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *writer) Write(b []byte) (int, error) {
	w.begun = true
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// status is a fault whose HTTP status is not the one of its code.
type status struct {
	code int
	*fault.Fault
}

// Unwrap lets errors.As find the fault.
func (s status) Unwrap() error { return s.Fault }

// statusOf is the HTTP status for a fault's code, by its exit code.
func statusOf(code fault.Code) int {
	switch code {
	case fault.Internal:
		return http.StatusInternalServerError
	case fault.AgentRunning, fault.PortInUse:
		return http.StatusConflict
	}
	switch fault.Explain(code).Exit {
	case 0:
		return http.StatusOK
	case 2:
		return http.StatusBadRequest
	case 3:
		return http.StatusConflict
	case 4:
		return http.StatusNotFound
	case 5, 130:
		return http.StatusServiceUnavailable
	case 6:
		return http.StatusForbidden
	case 124:
		return http.StatusGatewayTimeout
	}
	return http.StatusUnprocessableEntity
}

// fail answers with an error.
func (s *Server) fail(w http.ResponseWriter, err error) {
	f := fault.From(err)
	code := statusOf(f.Code)
	var own status
	if errors.As(err, &own) {
		code = own.code
	}
	if code < http.StatusBadRequest {
		code = http.StatusUnprocessableEntity
	}
	s.send(w, code, api.Failure{Error: f})
}

// write answers with v. An outcome with a failure gets the failure's status and
// holds it beside its results.
func (s *Server) write(w http.ResponseWriter, v any) error {
	failed, ok := v.(interface{ Fault() *fault.Fault })
	if !ok || failed.Fault() == nil {
		return s.send(w, http.StatusOK, v)
	}
	f := failed.Fault()
	switch out := v.(type) {
	case api.Outcome:
		v = struct {
			api.Outcome
			api.Failure
		}{out, api.Failure{Error: f}}
	case api.ApplyResult:
		v = struct {
			api.ApplyResult
			api.Failure
		}{out, api.Failure{Error: f}}
	}
	return s.send(w, statusOf(f.Code), v)
}

// send writes v as JSON. It returns an error only while nothing is written.
func (s *Server) send(w http.ResponseWriter, code int, v any) error {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fault.New(fault.Internal, "cannot encode the answer: %w", err)
	}
	s.writeIn(w)
	w.Header().Set("Content-Type", mediaJSON)
	w.WriteHeader(code)
	// A client that has gone away does not need it.
	_, _ = w.Write(text.Bytes())
	return nil
}

// writeIn gives the next writes writeTime, from now.
func (s *Server) writeIn(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.options.writeTime))
}

// read decodes the body of a request: one JSON value, nothing unknown in it.
func read[In any](s *Server, w http.ResponseWriter, r *http.Request) (In, error) {
	var in In
	text, err := s.body(w, r)
	if err != nil {
		return in, err
	}
	if len(text) == 0 && reflect.TypeFor[In]() == reflect.TypeFor[struct{}]() {
		return in, nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err = d.Decode(&in)
	if errors.Is(err, io.EOF) {
		return in, fault.New(fault.Usage, "the request has no body").WithFix("send the JSON that GET /v1/openapi.json describes")
	}
	if err != nil {
		return in, s.misread(r, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return in, fault.New(fault.Usage, "the request goes on after its JSON value").WithFix("send one value")
	}
	return in, nil
}

// body reads a request's body within the limits of size and time.
func (s *Server) body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength > s.options.MaxBody {
		w.Header().Set("Connection", "close") // what follows is not read
		return nil, tooLong(s.options.MaxBody)
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(s.options.bodyTime))
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.options.MaxBody))
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		w.Header().Set("Connection", "close")
		return nil, tooLong(long.Limit)
	case err != nil:
		w.Header().Set("Connection", "close")
		return nil, status{http.StatusRequestTimeout, fault.New(fault.Usage, "cannot read the request: %w", err)}
	}
	// The connection is read on, to notice that the client goes away.
	_ = control.SetReadDeadline(time.Time{})
	return text, nil
}

func tooLong(limit int64) error {
	return status{http.StatusRequestEntityTooLarge, fault.New(fault.Usage, "the request is longer than %d bytes", limit).
		WithFix("send less at a time")}
}

// misread says what is wrong with a body. A client of another version may know
// fields that this agent does not, and then it must not do half of what was asked.
func (s *Server) misread(r *http.Request, err error) error {
	fix := "send the JSON that GET /v1/openapi.json describes"
	client := r.Header.Get(api.VersionHeader)
	if client != "" && client != s.options.Version {
		fix = "the client is muster " + client + ", this agent " + s.options.Version + ": use the same version on both sides"
	}
	text := strings.TrimPrefix(err.Error(), "json: ")
	return fault.New(fault.Usage, "cannot read the request: %s", text).WithFix(fix)
}
