module github.com/muster-run/muster

go 1.26.0
