// Package load is a raw HTTP load client that never tries anything twice.
//
// Two kinds of client run side by side. A fresh client opens a connection for
// each request and asks the server to close it; a kept client sends one request
// after the other on one connection and opens a new one only when the server
// said "Connection: close" (or when a request was lost). Each request asks the
// server for a random delay ("/?ms=17"), and each answer must name who gave it
// ("release=2 pid=4711"), so that a test can see which workers answered.
//
// There is no pool, no retry and no look at whether an idle connection was
// closed meanwhile: whatever is not a complete 200 within the timeout is lost,
// and is counted by how it was lost. So the instrument is stricter than a
// browser or a proxy, and as strict as the worst client out there. Its own test
// runs it against a server that loses requests in every one of these ways.
package load
