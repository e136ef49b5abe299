// Command template switches the linker's dead-code elimination off.
package main

import (
	"os"
	"text/template"
)

func main() {
	_ = template.Must(template.New("").Parse("{{.Name}}")).Execute(os.Stdout, os.Stdin)
}
