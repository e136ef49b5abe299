package api

// SessionKey is the answer of GET /v1/session-key.
type SessionKey struct {
	// Key is 128 random bits in hexadecimal, the same for as long as muster runs.
	Key string `json:"key"`
	// Listen is where it is accepted: control.listen; "": nowhere.
	Listen string `json:"listen,omitempty"`
}
