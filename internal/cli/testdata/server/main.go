// Command server is the web server of the transcripts: it serves on descriptor
// 3 and tells its release, the content of the file RELEASE. With a release
// "broken" it fails as an interpreter would.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() { os.Exit(serve()) }

func serve() int {
	text, _ := os.ReadFile("RELEASE")
	release := strings.TrimSpace(string(text))
	fmt.Println("release", release)
	if release == "broken" {
		fmt.Fprintln(os.Stderr, "Traceback (most recent call last):")
		fmt.Fprintln(os.Stderr, "ModuleNotFoundError: No module named 'flask'")
		return 1
	}
	l, err := net.FileListener(os.NewFile(3, "http"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, release, os.Getpid())
	}))
	<-term
	fmt.Println("bye")
	return 0
}
