package op

// Party is one that takes part: a worker's process, or a client of the control API.
type Party struct {
	// ID is never used again, and the same for a successor of the agent.
	ID string
	// App "": a client, whose Name is client:NAME.
	App, Role string
	Tags      []string
	Slot      int
	Name      string // web#0
	// Allow is what its app allows it.
	Allow []string
	// What it says of itself goes to these; nil: nowhere. They must not block.
	Beat      func()          // a sign of life
	Crash     func(CrashBody) // an error that nobody caught
	Lifecycle func(text string)
	// Settings it acts on.
	Settings Settings
	// Send puts a frame on its way; it never blocks and is safe for concurrent use. It
	// must not change the frame (others get the same), keep it, or use the Exchange.
	Send func(frame []byte) error
	// Waiting is how much it has not read yet. It must not use the Exchange either.
	Waiting func() (frames, bytes int)
}

// Exchange takes the frames of parties and knows whom they are for.
type Exchange interface {
	// Enter makes a party known, before it can say anything. With Adopted it is one
	// that an earlier agent has left.
	Enter(p Party, adopted bool) Seat
}

// Seat is a party's place in an Exchange. Its methods never block and are safe for
// concurrent use.
type Seat interface {
	// Hear takes a frame of the party; data is the caller's again when it returns.
	Hear(data []byte)
	// Ready says that others may ask it (true), or that it is told to end (false): it
	// may go on asking and answering.
	Ready(pid int, ready bool)
	// Changed are other settings for it; it is told.
	Changed(s Settings, allow []string)
	// Gone ends it: who waits for its replies is told, what it holds is freed.
	Gone()
}
