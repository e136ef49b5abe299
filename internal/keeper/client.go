package keeper

import (
	"encoding/json"
	"errors"
	"os"
	"time"

	"github.com/muster-run/muster/internal/process"
)

var errNotYet = errors.New("not written yet")

// FDEnv is the variable that names the agent's end of the socket to its keeper.
const FDEnv = "MUSTER_KEEPER_FD"

// Hello is what the keeper tells a new agent.
type Hello struct {
	// PID of the keeper, Version of its program, Protocol that is spoken.
	PID      int       `json:"pid"`
	Version  string    `json:"version"`
	Protocol int       `json:"protocol"`
	Started  time.Time `json:"started"`
	// Agents counts the agents that were started, this one included.
	Agents int `json:"agents"`
	// Last says what became of the agent before: "killed by signal SIGKILL",
	// "upgraded"; "" for the first.
	Last string `json:"last,omitempty"`
	// Upgrade is what the last upgrade came to; nil: there was none.
	Upgrade json.RawMessage `json:"upgrade,omitempty"`
	// Signals that ask for the end and came before this agent.
	Signals []int `json:"signals,omitempty"`
	// Capabilities of the machine, as process.Direct found them.
	Capabilities process.Capabilities `json:"capabilities"`
}

// Client is the agent's side: a process.Starter, and a process.Store by Store.
// Safe for concurrent use. After Lost every call fails at once with
// E-KEEPER-LOST, and after Close with process.ErrClosed.
type Client struct{}

var _ process.Starter = (*Client)(nil)

// Dial says hello over the socket fd, which it takes over, and learns of the
// processes that there are: the exits among them are delivered by Exits.
func Dial(fd int) (*Client, Hello, error) { return nil, Hello{}, errNotYet }

// Start implements process.Starter.
func (c *Client) Start(process.Command) (process.Proc, error) { return process.Proc{}, errNotYet }

// List implements process.Starter.
func (c *Client) List() []process.Proc { return nil }

// Exits implements process.Starter.
func (c *Client) Exits() <-chan process.Exit { return nil }

// Ack implements process.Starter.
func (c *Client) Ack(id string) {}

// SetMeta implements process.Starter.
func (c *Client) SetMeta(id string, meta []byte) error { return errNotYet }

// SetMain implements process.Starter.
func (c *Client) SetMain(id string, pid int) (process.Proc, error) { return process.Proc{}, errNotYet }

// SetKillAt implements process.Starter.
func (c *Client) SetKillAt(id string, t time.Time) error { return errNotYet }

// Output implements process.Starter.
func (c *Client) Output(id string) (process.Output, error) { return nil, errNotYet }

// Store is what the keeper holds by name. Put does not wait for the keeper.
func (c *Client) Store() process.Store { return nil }

// Signals delivers what the keeper was sent: TERM, INT, QUIT, HUP, USR2, TTIN,
// TTOU. What nobody takes is dropped when 64 wait.
func (c *Client) Signals() <-chan os.Signal { return nil }

// Troubles delivers what went wrong with a call that did not wait (Put, Commit).
// What nobody takes is dropped when 64 wait.
func (c *Client) Troubles() <-chan error { return nil }

// Up says that this agent serves.
func (c *Client) Up() error { return errNotYet }

// Notify sends a state to systemd (sd_notify) from the keeper's pid.
func (c *Client) Notify(state string) error { return errNotYet }

// Upgrade makes the keeper start exe once this agent has left by Close or its
// end, and this program again when that one is not Up within 30 s. what is
// opaque: the next agent finds it in Hello.Upgrade, with the outcome.
func (c *Client) Upgrade(exe *os.File, what json.RawMessage) error { return errNotYet }

// Obeys says that this agent ends because of a signal, so that a successor shall
// be told of it, too. TERM, INT and QUIT are remembered without.
func (c *Client) Obeys(sig os.Signal) error { return errNotYet }

// End says that this agent ends orderly now, and the keeper after it with code.
func (c *Client) End(code int) error { return errNotYet }

// Lost is closed when the keeper is gone; not by Close.
func (c *Client) Lost() <-chan struct{} { return nil }

// Close leaves the keeper, which takes it as the beginning of the agent's end.
func (c *Client) Close() error { return nil }
