// Package usage reads what stands on the command line, and says in one way what is
// wrong with it: faults of code E-USAGE that name the command's help.
package usage
