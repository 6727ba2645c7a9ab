package metadata

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"slipstream/internal/script"
)

// TestStories runs testdata/story: what is asked, what is answered, what is
// written, and what the cluster then is. Besides requests a story has
//
//	start | stop | kill    the node's life; start reads the log from its beginning
//	image                  the image as records
//	producer-ids           a block for this node
//	limit N                the most partitions of the cluster from here on
func TestStories(t *testing.T) {
	script.Play(t, "story", *rewriteStories, tellStory)
}

func tellStory(t *testing.T) func([]string) string {
	n := newNode(t)
	seen := map[string]UUID{}
	return func(input []string) string {
		switch head := words(t, input[0]); head[0] {
		case "start":
			return n.describe(n.start())
		case "stop":
			records := n.c.Shutdown()
			n.commit(records)
			return n.describe(records)
		case "kill":
			return "the image is lost, the log is not"
		case "image":
			return n.describe(n.c.Image.Records())
		case "producer-ids":
			first, count, records, refusal := n.c.AllocateProducerIDs()
			if refusal != nil {
				return refusal.Error()
			}
			n.commit(records)
			return fmt.Sprintf("%d to %d\n%s", first, first+int64(count)-1, n.describe(records))
		case "limit":
			n.c.MaxPartitions = int32(number(t, head[1]))
			return "at most " + head[1] + " partitions"
		default:
			req := parseRequest(t, input, func(name string) UUID { return seen[name] })
			resp, records := n.decide(req)
			n.commit(records)
			remember(seen, resp)
			out := printResponse(resp)
			if len(records) > 0 {
				out += "\n" + n.describe(records)
			}
			return out
		}
	}
}

// describe writes records one a line; ids as the names of what they are.
func (n *node) describe(records []Record) string {
	text := describe(records)
	text = strings.ReplaceAll(text, testDirectory.String(), "DIRECTORY")
	for _, t := range n.c.Image.Topics() {
		n.names[t.ID] = t.Name
	}
	for id, name := range n.names { // order does not show: ids are not parts of one another
		text = strings.ReplaceAll(text, id.String(), "@"+name)
	}
	return text
}

func describe(records []Record) string {
	if len(records) == 0 {
		return "(nothing)"
	}
	out := make([]string, 0, len(records))
	for _, r := range records {
		v := reflect.ValueOf(r).Elem()
		out = append(out, strings.TrimSuffix(v.Type().Name(), "Record")+describeFields(v))
	}
	return strings.Join(out, "\n")
}

// describeFields leaves out what is zero and what cannot be told from run to run.
func describeFields(v reflect.Value) string {
	out := ""
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Field(i).Name
		said := name == "Leader" || name == "LeaderEpoch" || name == "LeaderRecoveryState" && v.Type() == reflect.TypeFor[PartitionChangeRecord]()
		if f.IsZero() && !said || name == "Features" || name == "IncarnationID" {
			continue
		}
		if name == "Leader" && f.Int() == int64(NoLeaderChange) || name == "LeaderRecoveryState" && f.Int() < 0 {
			continue
		}
		if f.Kind() == reflect.Slice && f.Len() == 0 && (name == "RemovingReplicas" || name == "AddingReplicas") {
			continue
		}
		out += " " + name + "=" + describeValue(f)
	}
	return out
}

func describeValue(f reflect.Value) string {
	switch x := f.Interface().(type) {
	case string:
		return strconv.Quote(x)
	case *string:
		return strconv.Quote(*x)
	case fmt.Stringer:
		return x.String()
	}
	switch f.Kind() {
	case reflect.Slice:
		var parts []string
		for i := range f.Len() {
			parts = append(parts, describeValue(f.Index(i)))
		}
		return "[" + strings.Join(parts, " ") + "]"
	case reflect.Struct:
		return "{" + strings.TrimSpace(describeFields(f)) + "}"
	}
	return fmt.Sprint(f)
}
