// Package cpus counts the CPUs that `workers: auto` stands for: those that the
// process may run on (its affinity mask), but no more than the CPU quota of its
// control group, or of one around it, allows.
//
//	cgroup v2  cpu.max                               "150000 100000" is 2
//	cgroup v1  cpu.cfs_quota_us, cpu.cfs_period_us   -1 is no limit
//
// runtime.GOMAXPROCS(0) is not that number: it is never below 2 where the
// machine has two, follows the variable GOMAXPROCS, which is about muster's own
// threads, and looks at the innermost group alone.
//
// # Failures
//
// There are none: what cannot be read or understood sets no limit. Available may
// be called from any goroutine.
package cpus
