// Package sdnotify is both ends of the sd_notify protocol.
package sdnotify
