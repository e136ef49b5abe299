package health

import (
	"context"
	"crypto/tls"
	"net"
	"path/filepath"

	"github.com/muster-run/muster/fault"
)

// tcpProbe passes when a connection can be made.
type tcpProbe struct{ network, address string }

// newTCP takes host:port, or the absolute path of a unix socket.
func newTCP(address string) (Probe, error) {
	if filepath.IsAbs(address) {
		return tcpProbe{"unix", address}, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "" {
		return nil, fault.New(fault.Config, "%q is neither host:port nor an absolute path", address).
			WithFix("write 127.0.0.1:8000, [::1]:8000 or /run/web.sock")
	}
	if host == "" {
		address = net.JoinHostPort("localhost", port)
	}
	return tcpProbe{"tcp", address}, nil
}

// Check implements Probe.
func (p tcpProbe) Check(ctx context.Context) error {
	conn, err := new(net.Dialer).DialContext(ctx, p.network, p.address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// insecure accepts any certificate, see newHTTP.
func insecure() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }
