package saved

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// Options of a Book.
type Options struct {
	// Dir is the project's state directory, ours and 0700.
	Dir string
	// Version of muster, for the file.
	Version string
	// Home is the directory of the configuration file, or the one in which
	// `muster run` was started.
	Home string
}

// Book is how an agent keeps what it runs. A project without a configuration file
// is kept only once `muster save` has asked for it: that is looked up with every
// note. The methods are safe for concurrent use.
type Book struct {
	opts Options

	mu       sync.Mutex
	declared map[string]int
	noted    *Project // what the last note came to, so that most need no look at the disk
	closed   bool
}

// Open reads what was saved, for the numbers of a configuration that an agent
// before has applied. Nothing is written. damage: a fault to report, or nil.
func Open(o Options) (b *Book, damage *fault.Fault) {
	b = &Book{opts: o}
	p, damage, err := Load(o.Dir)
	if err == nil {
		b.declared = p.Declared
	}
	return b, damage
}

// Resume is what to start instead of what the configuration says now, see
// Project.Resume. Without anything saved that is s itself.
func (b *Book) Resume(s spec.Spec) (now spec.Spec, stopped []string) {
	p, _, err := Load(b.opts.Dir)
	if err != nil {
		return s, nil
	}
	return p.Resume(s)
}

// Applied notes what the configuration says: the sizes that a Resume is compared
// with. Call it with each spec that is applied, as it was before a Resume.
func (b *Book) Applied(s spec.Spec) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.declared = sizes(s)
}

// Keep writes what runs when it differs from what the file holds: the declared
// spec with its present sizes, and the apps that an order has stopped. Fault:
// E-SAVED; what was saved before stands then.
func (b *Book) Keep(now spec.Spec, stopped []string) error {
	return b.write(func(p *Project) {
		p.Spec, p.Dir, p.Declared, p.Ended = now, b.opts.Home, maps.Clone(b.declared), false
		if now.File != "" {
			p.Spec.Environ = nil
		}
		p.Stopped = slices.Sorted(slices.Values(stopped))
	})
}

// End is the last note; nothing is kept after it. ended: see Project.Ended.
func (b *Book) End(ended bool) error {
	err := b.write(func(p *Project) { p.Ended = ended })
	b.Shut()
	return err
}

// Shut ends the keeping without a note.
func (b *Book) Shut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
}

func (b *Book) write(change func(*Project)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.noted != nil && unchanged(*b.noted, change) {
		return nil
	}
	var note *Project
	err := Update(b.opts.Dir, func(p *Project) bool {
		was := *p
		change(p)
		if p.Spec.File == "" && was.Dir == "" {
			return false
		}
		note = p
		if p.same(was) {
			return false
		}
		p.Version, p.SavedAt = b.opts.Version, time.Now().UTC()
		return true
	})
	b.noted = note
	if err != nil {
		b.noted = nil
	}
	return err
}

func unchanged(p Project, change func(*Project)) bool {
	was := p
	change(&p)
	return p.same(was)
}
