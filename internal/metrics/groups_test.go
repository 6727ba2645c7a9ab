package metrics

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Groups and their offsets are counted, by state, on all cores together.
func TestGroupFigures(t *testing.T) {
	w := startWatched(t, Options{}, "offsets.topic.num.partitions=4")
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.address))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := admin.CreateTopics(ctx, 2, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	for _, group := range []string{"a", "b", "c"} {
		offsets := kadm.Offsets{}
		offsets.AddOffset("t", 0, 1, -1)
		offsets.AddOffset("t", 1, 2, -1)
		if err := admin.CommitAllOffsets(ctx, group, offsets); err != nil {
			t.Fatal(err)
		}
	}
	_, _, body := w.get("/metrics", "text/plain")
	text := string(body)
	for _, want := range []string{
		"kafka_coordinator_group_groupmetadatamanager_numgroups 3\n",
		"kafka_coordinator_group_groupmetadatamanager_numgroupsempty 3\n",
		"kafka_coordinator_group_groupmetadatamanager_numgroupsstable 0\n",
		"kafka_coordinator_group_groupmetadatamanager_numoffsets 6\n",
		`kafka_server_group_coordinator_metrics_group_count{protocol="classic"} 3` + "\n",
		"kafka_server_group_coordinator_metrics_offset_commit_count 6\n",
		`slipstream_coordinator_partitions{state="active",topic="__consumer_offsets"} 4` + "\n",
		`slipstream_coordinator_loads_total{topic="__consumer_offsets"} 4` + "\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, grepLines(text, strings.FieldsFunc(want, func(r rune) bool { return r == '{' || r == ' ' })[0]))
		}
	}
}

func grepLines(text, what string) (out string) {
	for line := range strings.Lines(text) {
		if strings.Contains(line, what) {
			out += line
		}
	}
	return out
}
