package control

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/control/socket"
)

// aGroup is a group that this process may give files to: any for root, else
// one of its own.
func aGroup(t *testing.T) (gid int, name string) {
	t.Helper()
	gid = 4712
	if os.Geteuid() != 0 {
		gid = os.Getegid()
	}
	return gid, strconv.Itoa(gid)
}

// askAs asks the server for its status as another user, from a process of
// theirs, and returns the code of the fault, "" when it was answered. Only root
// can become somebody else; others ask as themselves.
func askAs(t *testing.T, path string, who *syscall.Credential) fault.Code {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	// Where go puts test binaries, other users may not look.
	dir := tempDir(t)
	child := filepath.Join(dir, "child")
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(child, text, 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(child)
	cmd.Env = append(os.Environ(), childSocket+"="+path)
	cmd.Dir = "/"
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	}
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	uid, code, _ := strings.Cut(string(out), " ")
	if want := strconv.Itoa(int(who.Uid)); os.Geteuid() == 0 && uid != want {
		t.Fatalf("the child ran as %s, not as %s", uid, want)
	}
	return fault.Code(code)
}

// open lets everybody to the socket, so that only the credentials decide.
func (g *rig) open() {
	g.t.Helper()
	if err := errors.Join(os.Chmod(filepath.Dir(g.path), 0o755), os.Chmod(g.path, 0o666)); err != nil {
		g.t.Fatal(err)
	}
}

func TestForeignUserIsDenied(t *testing.T) {
	g := serve(t, func(o *Options) { o.Owner = 4710 })
	g.open()
	if code := askAs(t, g.path, &syscall.Credential{Uid: 4711, Gid: 4711}); code != fault.Denied {
		t.Errorf("a foreign user: got %q, want %s", code, fault.Denied)
	}
	if len(g.hub.Past()) != 0 {
		t.Error("something was published")
	}
}

// The kernel keeps others away before they are asked who they are.
func TestSocketKeepsOthersAway(t *testing.T) {
	g := serve(t, nil)
	if os.Geteuid() != 0 {
		if err := os.Chmod(g.path, 0); err != nil {
			t.Fatal(err)
		}
	}
	if code := askAs(t, g.path, &syscall.Credential{Uid: 4711, Gid: 4711}); code != fault.Denied {
		t.Errorf("got %q, want %s", code, fault.Denied)
	}
}

func TestOwnerAndGroupMay(t *testing.T) {
	gid, name := aGroup(t)
	g := serve(t, func(o *Options) {
		o.Group = name
		if os.Geteuid() == 0 {
			o.Owner = 4710
		}
	})
	// The way to the socket is the group's already; only the owner of the test
	// is not the owner of the agent.
	for who, c := range map[string]*syscall.Credential{
		"primary group":       {Uid: 4711, Gid: uint32(gid)},
		"supplementary group": {Uid: 4711, Gid: 4711, Groups: []uint32{1, uint32(gid), 2}},
	} {
		if code := askAs(t, g.path, c); code != "" {
			t.Errorf("%s: got %s", who, code)
		}
	}
	g.open()
	if code := askAs(t, g.path, &syscall.Credential{Uid: 4710, Gid: 4711}); code != "" {
		t.Errorf("owner: got %s", code)
	}
	if _, err := g.client().Status(t.Context()); err != nil {
		t.Errorf("root, or the owner: %v", err)
	}
}

func TestGroupOfAnotherNameIsDenied(t *testing.T) {
	if os.Geteuid() != 0 {
		// Who is no root has one user only: the decision itself is tested below.
		return
	}
	g := serve(t, func(o *Options) { o.Owner, o.Group = 4710, "4712" })
	g.open()
	if code := askAs(t, g.path, &syscall.Credential{Uid: 4711, Gid: 4711, Groups: []uint32{4713}}); code != fault.Denied {
		t.Errorf("got %q, want %s", code, fault.Denied)
	}
}

func TestAdmit(t *testing.T) {
	for _, c := range []struct {
		name string
		gid  int
		peer peer
		ok   bool
	}{
		{"root", socket.NoGroup, peer{known: true, uid: 0}, true},
		{"owner", socket.NoGroup, peer{known: true, uid: 1000}, true},
		{"foreign", socket.NoGroup, peer{known: true, uid: 1001, gid: 1000, groups: []int{0, 1000}}, false},
		{"primary", 50, peer{known: true, uid: 1001, gid: 50}, true},
		{"supplementary", 50, peer{known: true, uid: 1001, gid: 7, groups: []int{8, 50}}, true},
		{"other group", 50, peer{known: true, uid: 1001, gid: 7, groups: []int{8}}, false},
		{"unknown", socket.NoGroup, peer{err: errors.New("no")}, false},
		{"nobody", 0, peer{}, false},
		{"overflow", socket.NoGroup, peer{known: true, uid: -1, gid: socket.NoGroup}, false},
	} {
		s := &Server{options: Options{Owner: 1000}, gid: c.gid}
		for _, a := range []Access{Read, Operate, Admin} {
			if err := s.admit(c.peer, a); (err == nil) != c.ok || (err != nil && fault.CodeOf(err) != fault.Denied) {
				t.Errorf("%s, %s: got %v", c.name, a, err)
			}
		}
	}
}

func TestPeerIsWhoTheKernelSays(t *testing.T) {
	path := filepath.Join(tempDir(t), "c.sock")
	l, err := socket.Listen(path, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p := peerOf(s)
	if !p.known || p.uid != os.Getuid() || p.gid != os.Getgid() || p.pid != os.Getpid() {
		t.Errorf("got %+v", p)
	}
	groups, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(groups)
	slices.Sort(p.groups)
	if !slices.Equal(p.groups, groups) {
		t.Errorf("groups %v, want %v", p.groups, groups)
	}
	if want := fmt.Sprintf("uid %d pid %d", os.Getuid(), os.Getpid()); p.String() != want {
		t.Errorf("got %s, want %s", p, want)
	}
}

// A connection without credentials may nothing.
func TestNoCredentials(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if p := peerOf(s); p.known || p.err == nil {
		t.Errorf("a TCP peer is %v", p)
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if p := peerOf(a); p.known || p.err == nil {
		t.Errorf("a pipe's peer is %v", p)
	}
}

func TestManyGroups(t *testing.T) {
	if os.Geteuid() != 0 {
		return // only root can have groups that it is not given
	}
	g := serve(t, func(o *Options) { o.Owner, o.Group = 4710, "9999" })
	g.open()
	many := make([]uint32, 500)
	for i := range many {
		many[i] = uint32(5000 + i)
	}
	if code := askAs(t, g.path, &syscall.Credential{Uid: 4711, Gid: 4711, Groups: many}); code != fault.Denied {
		t.Errorf("500 groups, not the right one: got %q", code)
	}
	many[499] = 9999
	if code := askAs(t, g.path, &syscall.Credential{Uid: 4711, Gid: 4711, Groups: many}); code != "" {
		t.Errorf("500 groups: got %s", code)
	}
}

func TestGroupsOfUser(t *testing.T) {
	if got := groupsOfUser(0); !slices.Contains(got, 0) {
		t.Errorf("root is in %v", got)
	}
	if got := groupsOfUser(987654); got != nil {
		t.Errorf("nobody is in %v", got)
	}
}
