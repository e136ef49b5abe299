// Command muster runs server programs as supervised pools of workers.
package main

import (
	"os"

	"github.com/muster-run/muster/internal/cli"
	"github.com/muster-run/muster/internal/cli/serve"
	"github.com/muster-run/muster/internal/process"
)

func main() {
	switch {
	case process.IsStep():
		process.RunStep()
	case serve.IsKeeper(os.Args):
		os.Exit(serve.RunKeeper(os.Args))
	}
	os.Exit(cli.Run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
}
