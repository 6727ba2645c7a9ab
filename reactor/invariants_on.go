//go:build invariants

package reactor

// invariants turns on the checks that cost more than a comparison.
const invariants = true
