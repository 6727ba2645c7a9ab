package share

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"slipstream/internal/script"
	"slipstream/protocol"
)

// The stories of testdata/coordinator are told of one partition of
// __share_group_state. NAME is a share-partition:
//
//	NAME init EPOCH OFFSET
//	NAME read LEADEREPOCH | summary | delete
//	NAME write EPOCH LEADEREPOCH OFFSET COMPLETE [FIRST-LAST/STATE/COUNT]...
//	log                     what has been written since
//	hold | land | fail CODE batches stay in flight; arrive; the oldest fails
//	restart                 another coordinator loads the log
//	wait MILLIS | prune | set snapshot=N cold=MILLIS
func TestCoordinatorStories(t *testing.T) {
	script.Play(t, "coordinator", *rewrite, func(t *testing.T) func([]string) string {
		k := &keeper{t: t, settings: Settings{SnapshotUpdateRecords: 500, ColdSnapshotMillis: 300_000, MaxBatchBytes: 1 << 20}, names: map[uint64]string{}}
		k.c = NewCoordinator(k.settings)
		k.c.Loaded(0)
		return k.play
	})
}

// keeper drives a coordinator as a core does, with a log in memory.
type keeper struct {
	t        *testing.T
	c        *Coordinator
	settings Settings
	now      int64
	token    uint64
	names    map[uint64]string
	held     bool
	flying   []Batch
	log      []RawRecord
	told     int // how much of the log has been shown
}

func (k *keeper) play(lines []string) string {
	var out []string
	for _, line := range lines {
		words := strings.Fields(line)
		if text := k.do(words); text != "" {
			out = append(out, text)
		}
		out = append(out, k.turn()...)
	}
	return strings.Join(out, "\n")
}

func (k *keeper) turn() (out []string) {
	for {
		r := k.c.Ready(100)
		k.flying = append(k.flying, r.Batches...)
		for _, result := range r.Results {
			out = append(out, k.names[result.Token]+": "+resultText(result))
		}
		if k.held || len(k.flying) == 0 {
			if len(r.Results) == 0 {
				return out
			}
			continue
		}
		k.land()
	}
}

func (k *keeper) land() {
	b := k.flying[0]
	k.flying = k.flying[1:]
	k.log = append(k.log, b.Records...)
	k.c.Committed(k.now, b.Seq)
}

func (k *keeper) do(words []string) string {
	switch words[0] {
	case "log":
		return k.news()
	case "hold":
		k.held = true
	case "land":
		k.held = false
	case "fail":
		b := k.flying[0]
		k.flying = nil
		k.c.Failed(k.now, b.Seq, codeOf(words[1]))
	case "restart":
		k.restart()
	case "wait":
		k.now += number(words[1])
		k.c.Tick(k.now)
	case "prune":
		return fmt.Sprintf("nothing is needed before %d", k.c.PruneBefore())
	case "set":
		o := options(words[1:])
		k.settings.SnapshotUpdateRecords, k.settings.ColdSnapshotMillis = int(o["snapshot"]), o["cold"]
		k.c.SetSettings(k.settings)
	default:
		k.ask(words[0], words[1], words[2:])
	}
	return ""
}

func (k *keeper) ask(name, action string, words []string) {
	k.token++
	k.names[k.token] = name
	r := Request{Token: k.token, Key: Key{Group: name, Topic: protocol.UUID{1}, Partition: 3}, LeaderEpoch: -1}
	switch action {
	case "init":
		r.Action, r.StateEpoch, r.StartOffset = Initialize, int32(number(words[0])), number(words[1])
	case "read":
		r.Action, r.LeaderEpoch = Read, int32(number(words[0]))
	case "summary":
		r.Action = ReadSummary
	case "delete":
		r.Action = Delete
	case "write":
		r.Action, r.StateEpoch, r.LeaderEpoch = WriteState, int32(number(words[0])), int32(number(words[1]))
		r.StartOffset, r.DeliveryCompleteCount = number(words[2]), int32(number(words[3]))
		for _, w := range words[4:] {
			r.Batches = append(r.Batches, stateBatch(w))
		}
	}
	k.c.Step(k.now, r)
}

func (k *keeper) restart() {
	k.c = NewCoordinator(k.settings)
	for i, r := range k.log {
		var unknown *UnknownRecordError
		if err := k.c.Replay(int64(i), r.Key, r.Value); err != nil && !errors.As(err, &unknown) {
			k.t.Fatal(err)
		}
	}
	k.c.Loaded(k.now)
	k.flying, k.held = nil, false
}

func (k *keeper) news() string {
	var out []string
	for ; k.told < len(k.log); k.told++ {
		r := k.log[k.told]
		kind, key, err := parseKey(r.Key)
		if err != nil {
			k.t.Fatal(err)
		}
		name := [...]string{"snapshot", "update"}[kind]
		if r.Value == nil {
			out = append(out, fmt.Sprintf("%d %s %s: gone", k.told, name, key.Group))
			continue
		}
		s, err := parseValue(kind, r.Value)
		if err != nil {
			k.t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%d %s %s: epoch %d %s", k.told, name, key.Group, s.SnapshotEpoch, stateText(s)))
	}
	return strings.Join(out, "\n")
}

func stateText(s State) string {
	return fmt.Sprintf("state epoch %d, leader epoch %d, start %d, %d complete, %s", s.StateEpoch, s.LeaderEpoch, s.StartOffset, s.DeliveryCompleteCount, batchesText(s.Batches))
}

func resultText(r Result) string {
	text := r.Code.String()
	if r.Message != "" {
		text += fmt.Sprintf(" %q", r.Message)
	}
	if r.Code == protocol.NONE {
		text += " " + stateText(r.State)
	}
	return text
}
