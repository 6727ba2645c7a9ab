package tidy

import "testing"

// Exceptions: what is excused, and why. An entry that excuses nothing any more
// fails its test, so the lists only say what is so.

// offCore are files of core packages that run elsewhere: at start-up and shutdown,
// on helpers, or at the border between other goroutines and a core.
var offCore = map[string]string{
	"reactor/helpers.go":               "the pool of goroutines that jobs are offloaded to",
	"reactor/inject.go":                "messages from any goroutine enter a core here",
	"storage/probe.go":                 "the writer's probe at start-up has a thread of its own, before any core turns",
	"internal/broker/serve.go":         "starts the cores' threads and waits for their end",
	"internal/broker/open.go":          "start-up, before any core turns",
	"internal/broker/open_recovery.go": "start-up, before any core turns",
	"internal/broker/warm.go":          "start-up, before any core turns",
	"internal/broker/addresses.go":     "start-up: names are resolved before there is a core",
	"internal/broker/scratch.go":       "helpers' scratch memory, shared between goroutines",
	"protocol/decompress.go":           "helpers share codecs that are dear to make",
}

// importExceptions are imports against the rules: "file import".
var importExceptions = map[string]string{
	"internal/sim/driver.go slipstream/reactor":  "the driver turns the cores",
	"internal/sim/helpers.go slipstream/reactor": "helpers in seed order take reactor's jobs",
}

// undocumented are exported names without a comment: "file name".
var undocumented = map[string]string{
	"internal/clients/harness/broker.go Slipstream": "the type's comment says it",
	"internal/clients/harness/broker.go Apache":     "the type's comment says it",
	"internal/clients/harness/broker.go External":   "the type's comment says it",
	"reactor/arena.go Arena.Mapped":                 "to be written",
}

// machinePaths are files that name such a path and must.
var machinePaths = map[string]string{}

// longFunctions are functions beyond the limit, with their length.
var longFunctions = map[string]int{}

// excuses are exceptions in use.
type excuses struct {
	listed map[string]string
	used   map[string]bool
}

func newExcuses(listed map[string]string) *excuses {
	return &excuses{listed, map[string]bool{}}
}

func (e *excuses) has(key string) bool {
	_, ok := e.listed[key]
	e.used[key] = e.used[key] || ok
	return ok
}

// unused fails for entries that excused nothing.
func (e *excuses) unused(t *testing.T) {
	t.Helper()
	for key, reason := range e.listed {
		if !e.used[key] {
			t.Errorf("the exception of %s (%s) is no longer needed: remove it", key, reason)
		}
	}
}
