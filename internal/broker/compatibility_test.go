package broker

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"slipstream/protocol"
)

var update = flag.Bool("update", false, "write docs/compatibility.md anew")

// unserved says why a key that Apache lists is not served. One that is neither
// served nor here fails TestVersionsAreApaches.
var unserved = map[int16]string{
	88: "the streams protocol (KIP-1071): Kafka Streams uses the classic one unless it is told otherwise",
	89: "the streams protocol, likewise",
}

// head is what a file NN_name.go says of its keys before anything else.
type head struct {
	file       string
	versions   map[int16]string // by key, as "1-3" or "0"
	names      map[int16]string
	departures string
}

var (
	keyFile      = regexp.MustCompile(`^\d\d_\w+\.go$`)
	headKeys     = regexp.MustCompile(`((?:[A-Z]\w+ \(\d+\)(?:,? and |, )?)+),? versions? (\d+(?:-\d+)?)`)
	headKey      = regexp.MustCompile(`([A-Z]\w+) \((\d+)\)`)
	headSections = regexp.MustCompile(`(?s)Departures from Kafka: (.*?)(?:\n\n|$)`)
)

// heads reads the comments at the head of this package's files of keys.
func heads(t *testing.T) (all []head) {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !keyFile.MatchString(e.Name()) {
			continue
		}
		text, err := os.ReadFile(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, readHead(e.Name(), string(text)))
	}
	return all
}

func readHead(file, source string) head {
	h := head{file: file, versions: map[int16]string{}, names: map[int16]string{}}
	var lines []string
	for _, line := range strings.Split(source, "\n") {
		if comment, ok := strings.CutPrefix(line, "//"); ok {
			lines = append(lines, strings.TrimPrefix(comment, " "))
		} else if len(lines) > 0 {
			break
		}
	}
	text := strings.Join(lines, "\n")
	if m := headSections.FindStringSubmatch(text); m != nil {
		h.departures = strings.TrimSuffix(strings.Join(strings.Fields(m[1]), " "), ".")
	}
	first, _, _ := strings.Cut(text, "\n\n")
	for _, m := range headKeys.FindAllStringSubmatch(strings.Join(strings.Fields(first), " "), -1) {
		for _, k := range headKey.FindAllStringSubmatch(m[1], -1) {
			n, _ := strconv.ParseInt(k[2], 10, 16)
			h.versions[int16(n)], h.names[int16(n)] = m[2], k[1]
		}
	}
	return h
}

// schemaName is a key's name as Kafka's schemas have it.
func schemaName(key int16) string {
	var b strings.Builder
	for _, word := range strings.Split(protocol.APIName(key), "_") {
		b.WriteString(word[:1] + strings.ToLower(word[1:]))
	}
	return b.String()
}

func versionRange(low, high int16) string {
	if low == high {
		return strconv.Itoa(int(low))
	}
	return fmt.Sprintf("%d-%d", low, high)
}

// apacheRanges are the keys and versions that Apache Kafka 4.3.1 was recorded to
// list on a broker's listener.
func apacheRanges(t *testing.T) (keys []int16, ranges map[int16]string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "clients", "testdata", "oracle", "18-api-versions.json"))
	if err != nil {
		t.Fatal(err)
	}
	var recorded []struct {
		Answer struct {
			ApiKeys []struct{ ApiKey, MinVersion, MaxVersion int16 }
		}
	}
	if err := json.Unmarshal(text, &recorded); err != nil {
		t.Fatal(err)
	}
	ranges = map[int16]string{}
	for _, k := range recorded[0].Answer.ApiKeys {
		keys = append(keys, k.ApiKey)
		ranges[k.ApiKey] = versionRange(k.MinVersion, k.MaxVersion)
	}
	return keys, ranges
}

// TestCompatibilityDocument keeps docs/compatibility.md what the table of APIs and
// the heads of their files say.
func TestCompatibilityDocument(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "compatibility.md")
	want := compatibility(t)
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("docs/compatibility.md is not what the code says (%v); run make generate", err)
	}
}

// TestHeadsSayWhatIsServed: the head of each file NN_name.go names its keys with
// Kafka's names and with the versions that the table of APIs has.
func TestHeadsSayWhatIsServed(t *testing.T) {
	said := map[int16]string{}
	for _, h := range heads(t) {
		if len(h.versions) == 0 {
			t.Errorf("%s: its head does not say which versions of which key it serves, as in \"Fetch (1), versions 4-18\"", h.file)
		}
		if n, _ := strconv.Atoi(h.file[:2]); h.versions[int16(n)] == "" {
			t.Errorf("%s: its head does not speak of key %d", h.file, n)
		}
		for key, name := range h.names {
			if name != schemaName(key) {
				t.Errorf("%s: key %d is Kafka's %s, not %s", h.file, key, schemaName(key), name)
			}
			if said[key] != "" {
				t.Errorf("%s: key %d has a head elsewhere too", h.file, key)
			}
			said[key] = h.versions[key]
		}
	}
	for i := range apis {
		if a := &apis[i]; said[a.key] != versionRange(a.min, a.max) {
			t.Errorf("%s (%d) is served in versions %s, and the head of its file says %q", schemaName(a.key), a.key, versionRange(a.min, a.max), said[a.key])
		}
		delete(said, apis[i].key)
	}
	for key := range said {
		t.Errorf("the head of a file speaks of key %d, which is not in the table of APIs", key)
	}
}

func compatibility(t *testing.T) string {
	keys, apache := apacheRanges(t)
	departures := map[int16]string{}
	for _, h := range heads(t) {
		for key := range h.versions {
			departures[key] = h.departures
		}
	}
	var b strings.Builder
	b.WriteString(`# Compatibility

Generated from the table of APIs in internal/broker and the heads of its files (` + "`make generate`" + `); do not edit.

What a client of Apache Kafka 4.3.1 can ask of this broker, key by key. "Apache" is the version range that Apache Kafka 4.3.1 lists on a broker's
listener (recorded, and compared by a test); the answers themselves are compared with recorded ones in internal/clients/testdata/oracle. What is not in
the table of served keys is not listed by ApiVersions.

## Served

| key | API | versions | Apache | departures from Kafka |
| ---: | --- | --- | --- | --- |
`)
	for i := range apis {
		a := &apis[i]
		text := departures[a.key]
		if strings.HasPrefix(text, "none") {
			text = ""
		}
		listed := apache[a.key]
		if listed == "" {
			listed = "not listed"
		}
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %s |\n", a.key, schemaName(a.key), versionRange(a.min, a.max), listed, strings.ReplaceAll(text, "|", `\|`))
	}
	b.WriteString("\nApiVersions lists Produce from version 0 on, as Kafka does: librdkafka takes a higher minimum for a broker that is too old.\n\n## Not served\n\n" +
		"| key | API | Apache | why |\n| ---: | --- | --- | --- |\n")
	for _, key := range keys {
		if slices.ContainsFunc(apis, func(a api) bool { return a.key == key }) {
			continue
		}
		fmt.Fprintf(&b, "| %d | %s | %s | %s |\n", key, schemaName(key), apache[key], unserved[key])
	}
	return b.String()
}

// TestVersionsAreApaches: what is served is served in the versions that Apache
// lists, and what Apache lists is served or has a reason not to be.
func TestVersionsAreApaches(t *testing.T) {
	keys, apache := apacheRanges(t)
	for _, key := range keys {
		served := slices.ContainsFunc(apis, func(a api) bool { return a.key == key })
		if served == (unserved[key] != "") {
			t.Errorf("%s (%d), which Apache lists: served is %v, and the reason why not is %q", schemaName(key), key, served, unserved[key])
		}
	}
	for i := range apis {
		a := &apis[i]
		if (apache[a.key] == "") != a.unlisted {
			t.Errorf("%s (%d): whether ApiVersions lists it is not as with Apache", schemaName(a.key), a.key)
		}
		if listed := apache[a.key]; listed != "" && listed != versionRange(a.advertisedMin, a.max) {
			t.Errorf("%s (%d) is listed in versions %s, Apache's are %s", schemaName(a.key), a.key, versionRange(a.advertisedMin, a.max), listed)
		}
	}
}
