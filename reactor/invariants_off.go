//go:build !invariants

package reactor

// invariants turns on the checks that cost more than a comparison. They are
// compiled in with -tags invariants.
const invariants = false
