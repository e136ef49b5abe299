package record

// Forks are those of a Node.js program that is its own primary. Never changed.
type Forks struct {
	// Last is the latest number that the program has given to one.
	Last int    `json:"last,omitempty"`
	List []Fork `json:"list,omitempty"`
}

// Fork is a process that muster has started for such a program. Values are compared.
type Fork struct {
	// Process has the program's number for it.
	Process Process `json:"process"`
	// Silent: what it prints is passed on to the program.
	Silent bool `json:"silent,omitempty"`
}

// Servers are what forks listen on, each key as often as there are forks that do.
func (f *Forks) Servers() (keys []string) {
	for _, v := range f.List {
		if v.Process.Node == nil {
			continue
		}
		for key, listens := range v.Process.Node.Servers {
			if listens {
				keys = append(keys, key)
			}
		}
	}
	return keys
}
