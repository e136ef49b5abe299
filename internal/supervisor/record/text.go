package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/muster-run/muster/internal/process"
)

// Names of the records.
const (
	SupervisorName = "supervisor"
	poolPrefix     = "pool/"
	releasesPrefix = "releases/"
)

// PoolName is the name of an app's record.
func PoolName(app string) string { return poolPrefix + app }

// ReleasesName is the name of the record of an app's releases.
func ReleasesName(app string) string { return releasesPrefix + app }

// Apps lists the apps that have records, sorted.
func Apps(r process.Records) []string {
	var apps []string
	for _, name := range r.Names(poolPrefix) {
		apps = append(apps, strings.TrimPrefix(name, poolPrefix))
	}
	return apps
}

// Forget removes the records of an app.
func Forget(r process.Records, app string) error {
	return errors.Join(r.Forget(PoolName(app)), r.Forget(ReleasesName(app)))
}

// Load reads a record; found is false when there is none.
func Load[T any](r process.Records, name string) (v T, found bool, err error) {
	text, err := r.Load(name)
	if text == nil || err != nil {
		return v, false, err
	}
	if err := json.Unmarshal(text, &v); err != nil {
		return v, false, fmt.Errorf("cannot read the record %s: %w", name, err)
	}
	return v, true, nil
}

// Save writes a record.
func Save(r process.Records, name string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return r.Save(name, text)
}

// JoinEnviron is the form of Release.Environ.
func JoinEnviron(environ []string) []byte { return []byte(strings.Join(environ, "\x00")) }

// SplitEnviron is the inverse of JoinEnviron.
func SplitEnviron(joined []byte) []string {
	if len(joined) == 0 {
		return nil
	}
	return strings.Split(string(joined), "\x00")
}

// Cached is the text of a value that changes rarely.
type Cached[T comparable] struct {
	value T
	text  []byte
}

// Set takes over a value and says whether it is another one than before.
func (c *Cached[T]) Set(v T) (changed bool) {
	if c.text != nil && v == c.value {
		return false
	}
	c.value = v
	c.text, _ = json.Marshal(v) // Slot and Worker cannot fail
	return true
}

// Page puts a pool's record together from texts that are cached. It keeps what
// was written last, to tell whether there is anything new. The zero Page has
// written nothing.
type Page struct {
	head             []byte
	slots, occupants [][]byte
	nSlots, nOthers  int
	changed          bool
}

// Begin starts a record with everything but slots and occupants.
func (p *Page) Begin(head Pool) error {
	text, err := json.Marshal(head)
	p.changed = err == nil && !bytes.Equal(text, p.head)
	p.slots, p.occupants = p.slots[:0], p.occupants[:0]
	if err == nil {
		p.head = text
	}
	return err
}

// Slot adds a slot.
func (p *Page) Slot(c *Cached[Slot], v Slot) {
	p.changed = c.Set(v) || p.changed
	p.slots = append(p.slots, c.text)
}

// Worker adds an occupant of a slot.
func (p *Page) Worker(c *Cached[Worker], v Worker) {
	p.changed = c.Set(v) || p.changed
	p.occupants = append(p.occupants, c.text)
}

// End returns the whole text; nil when it is that of the last time.
func (p *Page) End() []byte {
	if !p.changed && len(p.slots) == p.nSlots && len(p.occupants) == p.nOthers {
		return nil
	}
	p.nSlots, p.nOthers = len(p.slots), len(p.occupants)
	text := bytes.TrimSuffix(bytes.Clone(p.head), []byte("}"))
	text = appendList(text, `,"slots":[`, p.slots)
	text = appendList(text, `,"occupants":[`, p.occupants)
	return append(text, '}')
}

// Unsaved makes the next End return the text again: it could not be kept.
func (p *Page) Unsaved() { p.nSlots = -1 }

func appendList(text []byte, name string, items [][]byte) []byte {
	text = append(text, name...)
	text = append(text, bytes.Join(items, []byte(","))...)
	return append(text, ']')
}
