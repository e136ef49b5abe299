// Command muster runs server programs as supervised pools of workers.
package main

import (
	"os"

	"github.com/muster-run/muster/internal/cli"
	"github.com/muster-run/muster/internal/process"
)

func main() {
	if process.IsStep() {
		process.RunStep()
	}
	os.Exit(cli.Run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
}
