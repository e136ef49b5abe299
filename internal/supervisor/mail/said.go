package mail

import (
	"encoding/json"
	"time"

	"github.com/muster-run/muster/event"
)

// publishedMax is how many messages of one process become events in a second;
// publishedBytes of one count as another.
const (
	publishedMax   = 100
	publishedBytes = 16 << 10
)

// Meter says which messages of a process become events. One caller at a time.
type Meter struct {
	from   time.Time // of the second that is counted
	told   int       // in it
	missed int       // since the last one that became an event
}

// Said makes the event of a message; nil: there have been too many in this second.
func (m *Meter) Said(now time.Time, data []byte, descriptors int) *event.WorkerMessage {
	if d := now.Sub(m.from); d < 0 || d >= time.Second {
		m.from, m.told = now, 0
	}
	if m.told >= publishedMax {
		m.missed++
		return nil
	}
	m.told += 1 + min(len(data), event.MessageMax)/publishedBytes
	said := &event.WorkerMessage{Message: shown(data), Size: len(data), Descriptors: descriptors, Missed: m.missed}
	m.missed = 0
	return said
}

// shown is a message as it may stand in an event: JSON in any case.
func shown(data []byte) json.RawMessage {
	if len(data) <= event.MessageMax && json.Valid(data) {
		return data
	}
	text, err := json.Marshal(string(data[:min(len(data), event.MessageMax)])) // what is not UTF-8 is replaced
	if err != nil {
		return json.RawMessage("null")
	}
	return text
}
