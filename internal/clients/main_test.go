package clients

import (
	"os"
	"testing"

	"slipstream/internal/clients/harness"
)

func TestMain(m *testing.M) {
	code := m.Run()
	harness.Cleanup()
	os.Exit(code)
}
