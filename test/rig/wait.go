package rig

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
	"time"
)

// Until polls a condition every 10 ms and fails the test when it has not come
// true in time.
func Until(t testing.TB, within time.Duration, what string, cond func() bool) {
	t.Helper()
	if !Within(within, cond) {
		t.Fatalf("not within %v: %s", within, what)
	}
}

// Within polls a condition every 10 ms; false: it has not come true in time.
func Within(d time.Duration, cond func() bool) bool {
	end := time.After(d)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-end:
			return cond()
		case <-tick.C:
		}
	}
	return true
}

// For lets time pass where the passing of time is the test itself: a load that
// must run for a while, a worker that must not come back.
func For(d time.Duration) { <-time.After(d) }

// Addr is a free TCP address. It lies on a loopback address of its own, so
// that no other test, and no outgoing connection, takes the port before its
// user binds it.
func Addr(t testing.TB) string {
	t.Helper()
	for range 20 {
		ip := net.IPv4(127, byte(64+rand.IntN(64)), byte(rand.IntN(256)), byte(129+rand.IntN(100)))
		l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: ip})
		if err != nil {
			continue
		}
		addr := l.Addr().String()
		l.Close()
		return addr
	}
	t.Fatal("no free address")
	return ""
}

// WidePort is a port that is free on every address, below those that the system
// gives to outgoing connections.
func WidePort(t testing.TB) int {
	t.Helper()
	for range 20 {
		port := 20000 + rand.IntN(10000)
		if l, err := net.Listen("tcp", fmt.Sprintf(":%d", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// Port is the port of an address.
func Port(t testing.TB, addr string) int {
	t.Helper()
	_, text, err := net.SplitHostPort(addr)
	port, convErr := strconv.Atoi(text)
	if err != nil || convErr != nil {
		t.Fatalf("%q is no address", addr)
	}
	return port
}
