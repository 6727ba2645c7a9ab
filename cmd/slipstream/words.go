package main

import (
	"fmt"
	"slices"
	"strings"
)

// The words that select groups and transactions, as Kafka writes them.
var (
	groupTypes  = []string{"classic", "consumer", "share"}
	groupStates = []string{"Assigning", "CompletingRebalance", "Dead", "Empty", "PreparingRebalance", "Reconciling", "Stable"}
	txnStates   = []string{"CompleteAbort", "CompleteCommit", "Empty", "Ongoing", "PrepareAbort", "PrepareCommit", "PrepareEpochFence"}
)

// spell writes each word that a flag was given as known has it. One that is not known is refused: a broker takes it for a
// filter that nothing passes, and a misspelt state would look like no groups.
func spell(flag string, given, known []string) error {
	for i, word := range given {
		at := slices.IndexFunc(known, func(k string) bool { return strings.EqualFold(k, word) })
		if at < 0 {
			return fmt.Errorf("%s %s: want one of %s", flag, word, strings.Join(known, ", "))
		}
		given[i] = known[at]
	}
	return nil
}
