package broker

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"slipstream/internal/config"
)

// TestSettingsThatAreReadAreServed: a setting that this package reads is one that
// the registry, and so docs/settings.md, says does something.
func TestSettingsThatAreReadAreServed(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	quoted := regexp.MustCompile(`"([a-z]+(?:\.[a-z]+)+)"`)
	read := 0
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		text, err := os.ReadFile(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range quoted.FindAllStringSubmatch(string(text), -1) {
			s := config.Broker(m[1])
			if s == nil || config.Topic(m[1]) != nil { // of topics too
				continue
			}
			read++
			if s.Use == config.Ignored {
				t.Errorf("%s reads %s, which internal/config says changes nothing (served.go)", e.Name(), s.Name)
			}
		}
	}
	if read < 20 {
		t.Errorf("only %d settings are found to be read: this test looks for them in the wrong way", read)
	}
}
