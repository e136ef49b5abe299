package peer

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
)

// encode makes the body of a frame of any value. json.RawMessage is taken as it is,
// if it is JSON; nil is no body.
func encode(v any) (json.RawMessage, error) {
	if v == nil {
		return nil, nil
	}
	if raw, ok := v.(json.RawMessage); ok && len(raw) == 0 {
		return nil, nil
	}
	body, err := json.Marshal(v) // also leaves out the line ends of a RawMessage
	if err != nil {
		return nil, fault.New(fault.Usage, "the body cannot be written as JSON: %w", err).WithFix("send what encoding/json can write")
	}
	if len(body) > op.BodyMax {
		return nil, fault.New(fault.TooLarge, "the body has %d bytes of JSON, %d are allowed", len(body), op.BodyMax)
	}
	return body, nil
}

// decode reads a body into what v points to; nil: it is not wanted.
func decode(body json.RawMessage, v any) error {
	if v == nil || len(body) == 0 {
		return nil
	}
	if raw, ok := v.(*json.RawMessage); ok {
		*raw = body
		return nil
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fault.New(fault.Usage, "what was said is not what is expected here: %w", err).WithFix("give a value of the form that the other side sends")
	}
	return nil
}

// Envelope takes a message apart that has its op within: an object, or the JSON text
// of one (string, []byte or json.RawMessage). The other fields are the body.
func Envelope(message any) (opName string, body json.RawMessage, err error) {
	text, err := envelopeText(message)
	if err != nil {
		return "", nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return "", nil, fault.New(fault.Usage, "the message is no JSON object: %w", err).WithFix(`write it like {"op": "chat:say", "text": "hello"}`)
	}
	if json.Unmarshal(fields["op"], &opName) != nil || opName == "" {
		return "", nil, fault.New(fault.Usage, "the message has no op").WithFix(`write it like {"op": "chat:say", "text": "hello"}`)
	}
	delete(fields, "op")
	if len(fields) == 0 {
		return opName, nil, nil
	}
	body, err = encode(fields)
	return opName, body, err
}

func envelopeText(message any) ([]byte, error) {
	switch m := message.(type) {
	case string:
		return []byte(m), nil
	case []byte:
		return m, nil
	case json.RawMessage:
		return m, nil
	}
	text, err := json.Marshal(message)
	if err != nil {
		return nil, fault.New(fault.Usage, "the message cannot be written as JSON: %w", err).WithFix("send what encoding/json can write")
	}
	return text, nil
}

// gaveUp is the error of a context that ended first.
func gaveUp(ctx context.Context, what string) error {
	err := context.Cause(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return fault.New(fault.Deadline, "%s in time: %w", what, err)
	}
	return fault.New(fault.Interrupted, "%s before it was given up: %w", what, err).WithFix("the context of the call was ended by its owner")
}

// wireFault is the error of a Wire as a fault.
func wireFault(err error) *fault.Fault {
	var f *fault.Fault
	if errors.As(err, &f) {
		return f
	}
	return fault.New(fault.AgentUnreachable, "the connection to muster has ended: %w", err)
}

// checkName refuses what cannot be the name of an op, a channel, a lock ….
func checkName(what, name string) error {
	switch {
	case name == "":
		return fault.New(fault.Usage, "%s has no name", what).WithFix("give it a name")
	case len(name) > op.NameMax:
		return fault.New(fault.Usage, "the name of %s has %d bytes, %d are allowed", what, len(name), op.NameMax).WithFix("choose a shorter name")
	}
	return nil
}
