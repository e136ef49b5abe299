package line

import "sync"

// spareMax is how many parcels the memory of a Line is kept for.
const spareMax = 256

// Parcel is a frame on its way.
type Parcel struct {
	// Data is not changed any more.
	Data []byte
	// Own is the ID of the request that it is; 0: it is none.
	Own int64
	// Reply: it is one.
	Reply bool
	// Gap is how many messages it says were missed.
	Gap int
}

// Line of one receiver. The zero value is ready; safe for concurrent use.
type Line struct {
	mu      sync.Mutex
	parcels []Parcel
	frames  int // in parcels, and those being sent
	bytes   int // likewise
	sending bool
	closed  bool
	seen    [2]int // frames and bytes at the receiver's end
}

// Add appends; who calls it makes the order.
func (l *Line) Add(p Parcel) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.parcels = append(l.parcels, p)
		l.frames++
		l.bytes += len(p.Data)
	}
}

// Close drops all that is in it, and all that will come.
func (l *Line) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed, l.parcels = true, nil
}

// Within says whether less waits than so many frames, and bytes.
func (l *Line) Within(frames, bytes int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.frames+l.seen[0] < frames && l.bytes+l.seen[1] < bytes
}

// Saw notes what waits at the receiver's own end.
func (l *Line) Saw(frames, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = [2]int{frames, bytes}
}

// Take gives a new sender all there is; empty: nothing is there, or another sends.
func (l *Line) Take() []Parcel {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sending {
		return nil
	}
	return l.all(nil)
}

// More gives the sender what was added while it sent those; empty: it is done.
func (l *Line) More(sent []Parcel) []Parcel {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone(sent)
	return l.all(sent)
}

// Resume is said by a sender that has sent those and leaves the rest to the next one.
func (l *Line) Resume(sent []Parcel) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone(sent)
	l.sending = false
}

// all hands out everything. spare is memory for what comes next.
func (l *Line) all(spare []Parcel) []Parcel {
	list := l.parcels
	l.parcels = nil
	if cap(spare) <= spareMax {
		clear(spare)
		l.parcels = spare[:0]
	}
	l.sending = len(list) > 0
	return list
}

func (l *Line) gone(sent []Parcel) {
	for i := range sent {
		l.frames--
		l.bytes -= len(sent[i].Data)
	}
}
