package record

import "strings"

// The sockets of listeners have names in the Store: what is declared, and what Node.js
// workers have asked for, each followed by the app, a slash and spec.Listener.Key.
const (
	Declared = "listen/"
	AskedFor = "asked/"
)

// Holder is an app of the project that has a socket on an address.
type Holder struct {
	App   string
	Asked bool // its workers have asked for it; else it is declared
}

// Holders finds among names of the Store those with a socket on the port, or the path,
// of a listener's key: each once, in the order of the names.
func Holders(names []string, key string) (all []Holder) {
	seen := map[Holder]bool{}
	for _, name := range names {
		rest, asked := strings.CutPrefix(name, AskedFor)
		if !asked {
			declared := false
			if rest, declared = strings.CutPrefix(name, Declared); !declared {
				continue
			}
		}
		app, at, _ := strings.Cut(rest, "/")
		if h := (Holder{App: app, Asked: asked}); samePlace(at, key) && !seen[h] {
			seen[h] = true
			all = append(all, h)
		}
	}
	return all
}

// samePlace: the same port, whatever the address, or the same path.
func samePlace(name, key string) bool {
	if strings.HasPrefix(key, "unix://") {
		return name == key
	}
	name, _, _ = strings.Cut(name, "#") // a slot
	return name[strings.LastIndexByte(name, ':')+1:] == key[strings.LastIndexByte(key, ':')+1:] &&
		name[:min(3, len(name))] == key[:min(3, len(key))] // tcp or udp
}
