package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestCompatibilityListsWhatIsServed holds docs/compatibility.md, to which the README
// points, against what the broker says of itself.
func TestCompatibilityListsWhatIsServed(t *testing.T) {
	if !strings.Contains(readme(t), "(docs/compatibility.md)") {
		t.Error("the README does not point to docs/compatibility.md")
	}
	table, err := os.ReadFile(filepath.Join("..", "..", "docs", "compatibility.md"))
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(table), "## Not served")
	b := start(t, "--data-dir", filepath.Join(t.TempDir(), "data"))
	client, err := kgo.NewClient(kgo.SeedBrokers(b.address))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	resp, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, client)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range resp.ApiKeys {
		low := k.MinVersion
		if k.ApiKey == int16(kmsg.Produce) {
			low = 3 // advertised as 0 for librdkafka, as Kafka does
		}
		versions := fmt.Sprintf("%d-%d", low, k.MaxVersion)
		if low == k.MaxVersion {
			versions = fmt.Sprint(low)
		}
		row := regexp.MustCompile(fmt.Sprintf(`(?m)^\| %d \| \w+ \| %s \|`, k.ApiKey, versions))
		if !row.MatchString(text) {
			t.Errorf("docs/compatibility.md has no row of key %d in versions %s", k.ApiKey, versions)
		}
	}
	unlisted := strings.Count(text, "| not listed |") // by ApiVersions, as by Apache's
	if rows := regexp.MustCompile(`(?m)^\| \d+ \|`).FindAllString(text, -1); len(rows)-unlisted != len(resp.ApiKeys) {
		t.Errorf("docs/compatibility.md lists %d keys, and %d are served", len(rows), len(resp.ApiKeys))
	}
}

// TestReadmeNamesFlagsAndTargets: every flag of serve is in the README's table and
// none else; every target it names is in the Makefile.
func TestReadmeNamesFlagsAndTargets(t *testing.T) {
	text := readme(t)
	help := slipstream(t, "serve", "--help").out
	inHelp, inText := map[string]bool{"help": true}, map[string]bool{"help": true}
	for _, m := range regexp.MustCompile(`(?m)^ +(?:-\w, |    )--([\w-]+)`).FindAllStringSubmatch(help, -1) {
		inHelp[m[1]] = true
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `--([\\w-]+)").FindAllStringSubmatch(text, -1) {
		inText[m[1]] = true
	}
	if len(inHelp) < 5 || fmt.Sprint(inHelp) != fmt.Sprint(inText) {
		t.Errorf("the flags of serve --help are %v, those of the README %v", inHelp, inText)
	}
	makefile, err := os.ReadFile(filepath.Join("..", "..", "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("`make ([\\w-]+)`").FindAllStringSubmatch(text, -1) {
		if !regexp.MustCompile(`(?m)^` + m[1] + `:`).Match(makefile) {
			t.Errorf("the README names make %s, which the Makefile has not", m[1])
		}
	}
}
