package clients

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipstream/internal/clients/harness"
)

func TestMain(m *testing.M) {
	if err := dependOnSources(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	harness.Cleanup()
	os.Exit(code)
}

// dependOnSources looks at every file the broker is built from. The go command keeps passed results, and takes a test's
// inputs to be its own package's imports and the files it looks at; the broker is neither, as it is built by the test,
// so without this a result from before the last change would be reported as one of now.
func dependOnSources() error {
	root, err := harness.Root()
	if err != nil {
		return err
	}
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "build" || name == "data") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(name, ".go") || name == "go.mod" || name == "go.sum" || path == os.Getenv("SLIPSTREAM_BIN") {
			if _, err = os.Stat(path); os.IsNotExist(err) {
				err = nil // somebody is at work
			}
		}
		return err
	})
}
