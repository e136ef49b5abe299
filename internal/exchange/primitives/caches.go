package primitives

import (
	"encoding/json"
	"maps"
	"strings"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
)

// caches is which party hears of what is removed from which cache.
type caches struct {
	byName  map[string]map[string]bool // parties of a cache; a set is never changed
	byParty map[string]map[string]bool // caches of a party
	total   int
}

// has says whether a party uses a cache already.
func (u *caches) has(party, name string) bool { return u.byParty[party][name] }

func (u *caches) check(party string) error {
	if u.total >= UsesMax || len(u.byParty[party]) >= UsesMaxParty {
		return fault.New(fault.TableFull, "%d caches are in use, %d of them by this process", u.total, len(u.byParty[party]))
	}
	return nil
}

func (u *caches) add(party, name string) {
	if u.has(party, name) {
		return
	}
	if u.byName == nil {
		u.byName, u.byParty = map[string]map[string]bool{}, map[string]map[string]bool{}
	}
	if u.byParty[party] == nil {
		u.byParty[party] = map[string]bool{}
	}
	u.byParty[party][name] = true
	u.total++
	set := maps.Clone(u.byName[name])
	if set == nil {
		set = map[string]bool{}
	}
	set[party] = true
	u.byName[name] = set
}

// gone forgets a party, and says whether it was known.
func (u *caches) gone(party string) bool {
	used, known := u.byParty[party]
	delete(u.byParty, party)
	u.total -= len(used)
	for name := range used {
		set := maps.Clone(u.byName[name])
		delete(set, party)
		if u.byName[name] = set; len(set) == 0 {
			delete(u.byName, name)
		}
	}
	return known
}

// use answers CacheUse.
func (p *Primitives) use(c Call, _ time.Duration) (any, error) {
	body, err := read[op.CacheBody](c)
	if err == nil {
		err = checkName("cache", body.Cache)
	}
	if err != nil || p.caches.has(c.Party, body.Cache) {
		return struct{}{}, err
	}
	if err := p.caches.check(c.Party); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(c.Party, clientsPrefix) {
		if err := p.keep(func(b []byte) []byte { return appendUse(b, c.Party, body.Cache) }); err != nil {
			return nil, err
		}
	}
	p.caches.add(c.Party, body.Cache)
	return struct{}{}, nil
}

// invalidate answers CacheDel and CacheDrop: all users of the cache hear of it, but for
// the one who says it.
func (p *Primitives) invalidate(c Call, name string) (any, error) {
	body, err := read[op.CacheBody](c)
	if err == nil {
		err = checkName("cache", body.Cache)
	}
	if err != nil {
		return nil, err
	}
	if name == op.CacheDrop {
		body.Key = ""
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, fault.New(fault.Usage, "the key has no form in JSON: %w", err)
	}
	p.mu.Lock()
	users := p.caches.byName[body.Cache] // never changed
	p.mu.Unlock()
	to := func(party op.Party) bool { return users[party.ID] && party.ID != c.Party }
	return p.x.Tell(to, op.Frame{Cmd: op.CmdOp, Op: name, From: c.Name, PID: c.PID, Body: text}), nil
}
