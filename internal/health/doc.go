// Package health repeats a check of one worker and turns results into verdicts.
package health
