package talk

import (
	"bytes"
	"encoding/json"
	"io"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
)

// ReadMessage is the message that a command line gives: the first of args, or what
// stdin says when there is none or it is "-". It is one JSON value of at most
// api.MessageMax bytes, else a Usage fault.
func ReadMessage(args []string, stdin io.Reader) (json.RawMessage, error) {
	var text []byte
	if len(args) > 0 && args[0] != "-" {
		text = []byte(args[0])
	} else {
		var err error
		if text, err = io.ReadAll(io.LimitReader(stdin, api.MessageMax+2)); err != nil {
			return nil, fault.New(fault.Usage, "cannot read the message from stdin: %w", err).
				WithFix("give it as an argument")
		}
	}
	text = bytes.TrimSpace(text)
	if len(text) > api.MessageMax {
		return nil, fault.New(fault.Usage, "the message has more than %d KiB", api.MessageMax>>10).
			WithFix("send less at a time, or the name of a file")
	}
	var value json.RawMessage
	if err := json.Unmarshal(text, &value); err != nil {
		return nil, fault.New(fault.Usage, "the message is not JSON: %w", err).
			WithFix(`quote it for the shell: '{"type":"gc"}', and a text also for JSON: '"gc"'`)
	}
	return text, nil
}
