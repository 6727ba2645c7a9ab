package main

import (
	"os"
	"testing"

	"slipstream/internal/clients/harness"
)

// The raw limits are processes of the bench's own binary, which here is the test's.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "raw" {
		rawServer(os.Args[2:])
		return
	}
	status := m.Run()
	harness.Cleanup()
	os.Exit(status)
}
