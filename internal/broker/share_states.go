package broker

import (
	"slipstream/internal/share"
	"slipstream/protocol"
)

// shareStates takes a request about many share-partitions' states to the cores that keep
// them.
type shareStates struct {
	shard  *Shard
	group  string
	asks   []func()
	left   int
	finish func()
}

func (s *Shard) newShareStates(group string, finish func()) *shareStates {
	return &shareStates{shard: s, group: group, finish: finish}
}

// ask prepares a question about one share-partition of the group. One that is begun must
// be a partition that there is.
func (w *shareStates) ask(r share.Request, done func(share.Result)) {
	r.Key.Group = w.group
	w.asks = append(w.asks, func() {
		if r.Action == share.Initialize && !w.shard.isPartition(partitionKey{r.Key.Topic, r.Key.Partition}) {
			done(share.Result{Code: protocol.UNKNOWN_TOPIC_OR_PARTITION})
			w.ended()
			return
		}
		w.shard.askShareState(r, func(result share.Result) {
			done(result)
			w.ended()
		})
	})
}

// start asks all of them.
func (w *shareStates) start() {
	w.left = len(w.asks) + 1
	for _, ask := range w.asks {
		ask()
	}
	w.ended()
}

func (w *shareStates) ended() {
	if w.left--; w.left == 0 {
		w.finish()
	}
}

// isPartition says whether there is such a partition.
func (s *Shard) isPartition(k partitionKey) bool {
	t := s.topics[k.topic]
	return t != nil && k.partition >= 0 && int(k.partition) < t.partitions
}

// stateError is a result's error with the text that Kafka gives it.
func stateError(r share.Result) (code int16, message *string) {
	text := r.Message
	if text == "" {
		switch r.Code {
		case protocol.FENCED_STATE_EPOCH:
			text = "The share coordinator rejected the request because the share-group state epoch did not match."
		case protocol.FENCED_LEADER_EPOCH:
			text = "The leader epoch in the request is older than the epoch on the broker."
		case protocol.UNKNOWN_TOPIC_OR_PARTITION:
			text = "This server does not host this topic-partition."
		}
	}
	if text != "" {
		message = &text
	}
	return int16(r.Code), message
}
