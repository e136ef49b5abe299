// Package launch turns an app's command line into the process of one worker.
package launch
