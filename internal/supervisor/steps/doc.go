// Package steps is one goroutine that owns something: whatever happens to it is
// a step in its inbox. Steps never block.
//
//	inbox ─ step, settle, step, settle, … ─ save once ─ effects of all of them
//
// # Record before act
//
// What others see as a fact (a process that is started, an exit that is
// acknowledged, an answer to an order) is an effect: a step hands it to After,
// and it is performed once what all steps of the batch have made of the owner's
// state is saved. So a successor that reads what was saved last knows of
// everything that was done; what it finds not done it does itself.
//
// # Failures
//
// A panic in a step is told to Options.Broken; the goroutine goes on.
package steps
