package config_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"slipstream/internal/config"
)

var update = flag.Bool("update", false, "write docs/settings.md anew")

// TestSettingsDocument keeps docs/settings.md what the registry says.
func TestSettingsDocument(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "settings.md")
	want := document()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("docs/settings.md is not what the registry says (%v); run make generate", err)
	}
}

// TestEveryTopicSettingIsExplained: topics' settings are described to clients.
func TestEveryTopicSettingIsExplained(t *testing.T) {
	for _, s := range slices.Concat(config.Topics(), config.Groups(), config.ClientMetrics()) {
		if !strings.HasSuffix(s.Doc, ".") || len(s.Doc) < 20 {
			t.Errorf("%s is explained by %q", s.Name, s.Doc)
		}
	}
	for _, s := range config.Brokers() {
		if s.Use != config.Ignored && !strings.HasSuffix(s.Doc, ".") {
			t.Errorf("%s is explained by %q", s.Name, s.Doc)
		}
		if strings.HasPrefix(s.Name, "slipstream.") && s.Check(s.Default) != nil {
			t.Errorf("%s: its default %s is not allowed", s.Name, s.Default)
		}
	}
}

func document() string {
	var b strings.Builder
	b.WriteString(`# Settings

Generated from the registry in internal/config (` + "`make generate`" + `); do not edit.

Settings come from ` + "`--config FILE`" + `, which takes Kafka's server.properties, from ` + "`--set name=value`" + `, which wins over the file,
and from flags, which win over both. Names, types, defaults and limits of Kafka's settings are those of Apache Kafka 4.3.1.
An unknown name is an error. Settings that are known and change nothing here are named in a warning at start.

`)
	var ours, served, refused, ignored []*config.Setting
	for _, s := range config.Brokers() {
		switch {
		case strings.HasPrefix(s.Name, "slipstream."):
			ours = append(ours, s)
		case s.Use == config.Served:
			served = append(served, s)
		case s.Use == config.Refused:
			refused = append(refused, s)
		default:
			ignored = append(ignored, s)
		}
	}
	topics := slices.Clone(config.Topics())
	for _, list := range [][]*config.Setting{served, refused, ignored, topics} {
		slices.SortFunc(list, func(a, b *config.Setting) int { return strings.Compare(a.Name, b.Name) })
	}
	b.WriteString("## Slipstream's own\n\n")
	table(&b, ours)
	b.WriteString("\n## Kafka's, of the broker\n\nWhat takes effect at any time can be changed by IncrementalAlterConfigs, for one broker or for all.\n\n")
	table(&b, served)
	b.WriteString("\n## Kafka's, of groups\n\nSet by IncrementalAlterConfigs for a group (kafka-configs --entity-type groups); the default is the broker setting beside it.\n\n")
	owned(&b, config.Groups())
	b.WriteString("\n## Kafka's, of client metrics\n\nWhich metrics clients are asked to push (KIP-714; kafka-client-metrics). What they push is counted and not kept.\n\n")
	owned(&b, config.ClientMetrics())
	b.WriteString("\n## Kafka's, of topics\n\nSet when a topic is created, or by IncrementalAlterConfigs; the default is the broker setting beside it.\n" +
		"Those marked *kept* are checked, stored and described, and nothing acts on them yet.\n\n")
	b.WriteString("| topic setting | broker setting | type | default | allowed | |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, s := range topics {
		doc := s.Doc
		if s.Use == config.Ignored {
			doc = "*kept* " + doc
		}
		var names []string
		for _, y := range s.Synonyms {
			names = append(names, y.Name)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", s.Name, strings.Join(names, ", "), kind(s), value(s), s.Allowed(), doc)
	}
	b.WriteString("\n## Refused\n\nSettings that would do something that is not served, where going on without it could do harm: a start with one is refused, unless its value asks for nothing.\n\n")
	table(&b, refused)
	b.WriteString("\n## Accepted without effect\n\nSo that an existing server.properties can be used as it is.\n\n")
	for _, s := range ignored {
		fmt.Fprintf(&b, "- %s (%s, %s)\n", s.Name, kind(s), value(s))
	}
	return b.String()
}

// owned is the settings of groups and of client metrics, which can always change.
func owned(b *strings.Builder, list []*config.Setting) {
	b.WriteString("| setting | broker setting | type | default | allowed | |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, s := range list {
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", s.Name, s.Synonym, kind(s), value(s), s.Allowed(), s.Doc)
	}
}

func table(b *strings.Builder, list []*config.Setting) {
	b.WriteString("| setting | type | default | allowed | takes effect | |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, s := range list {
		changes := "at start"
		switch {
		case s.Name == "num.recovery.threads.per.data.dir":
			changes = "at the next start"
		case s.Reach == config.ClusterWide:
			changes = "any time"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", s.Name, kind(s), value(s), s.Allowed(), changes, s.Doc)
	}
}

func kind(s *config.Setting) string { return strings.ToLower(s.Kind.String()) }

// value shows a default; the largest numbers stand for "no limit".
func value(s *config.Setting) string {
	switch {
	case s.None:
		return "none"
	case s.Default == "":
		return `""`
	case s.Default == "9223372036854775807":
		return "2^63-1"
	}
	return strings.ReplaceAll(s.Default, ",", ", ")
}
