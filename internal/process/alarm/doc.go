// Package alarm keeps deadlines on CLOCK_BOOTTIME, which goes on while the machine
// sleeps (Go's own timers do not): one timerfd, armed for the earliest.
package alarm
