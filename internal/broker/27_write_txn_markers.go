package broker

import (
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// WriteTxnMarkers (27), versions 1-2: markers by hand. Coordinators here write theirs without it; tools use it to end
// a transaction that its coordinator does not know any more (kafka-transactions abort).
//
// Departures from Kafka: a partition that is named twice for a producer gets two markers.

func (s *Shard) serveWriteTxnMarkers(c *call) {
	req := c.body.(*kmsg.WriteTxnMarkersRequest)
	resp := kmsg.NewPtrWriteTxnMarkersResponse()
	var items []markerItem
	for i := range req.Markers {
		m := &req.Markers[i]
		rm := kmsg.NewWriteTxnMarkersResponseMarker()
		rm.ProducerID = m.ProducerID
		rm.Topics = make([]kmsg.WriteTxnMarkersResponseMarkerTopic, len(m.Topics))
		for j := range m.Topics {
			rm.Topics[j].Topic = m.Topics[j].Topic
			rm.Topics[j].Partitions = make([]kmsg.WriteTxnMarkersResponseMarkerTopicPartition, len(m.Topics[j].Partitions))
			items = s.markersByHand(items, m, m.Topics[j], rm.Topics[j].Partitions)
		}
		resp.Markers = append(resp.Markers, rm)
	}
	s.writeMarkers(items, func() { c.reply(resp) })
}

// markersByHand adds an item for each partition of a topic that there is.
func (s *Shard) markersByHand(items []markerItem, m *kmsg.WriteTxnMarkersRequestMarker, asked kmsg.WriteTxnMarkersRequestMarkerTopic, answers []kmsg.WriteTxnMarkersResponseMarkerTopicPartition) []markerItem {
	t := s.topicsByName[asked.Topic]
	for k, p := range asked.Partitions {
		answers[k].Partition = p
		if t == nil || p < 0 || int(p) >= t.partitions {
			answers[k].ErrorCode = int16(protocol.UNKNOWN_TOPIC_OR_PARTITION)
			continue
		}
		items = append(items, markerItem{
			key: partitionKey{t.id, p}, place: &answers[k].ErrorCode, version: int16(m.TransactionVersion),
			marker: protocol.Marker{
				ProducerID: m.ProducerID, ProducerEpoch: m.ProducerEpoch, CoordinatorEpoch: m.CoordinatorEpoch, Commit: m.Committed,
			},
		})
	}
	return items
}

// writeMarkers takes items to the cores of their partitions, a trip at a time for each core; done is called when all have
// their codes.
func (s *Shard) writeMarkers(items []markerItem, done func()) {
	byCore := make([][]markerItem, len(s.broker.shards))
	for _, item := range items {
		core := s.broker.ownerOf(item.key)
		byCore[core] = append(byCore[core], item)
	}
	left := 1
	ended := func() {
		if left--; left == 0 {
			done()
		}
	}
	for core, rest := range byCore {
		if len(rest) > 0 {
			left++
			s.sendMarkers(s.broker.shards[core], rest, ended)
		}
	}
	ended()
}

// sendMarkers takes items to a core, some at a time.
func (s *Shard) sendMarkers(owner *Shard, items []markerItem, done func()) {
	n := min(len(items), markersPerTrip)
	t := &markerTrip{home: s, owner: owner, items: items[:n]}
	t.done = func(t *markerTrip) {
		for i := range t.items {
			*t.items[i].place = int16(t.items[i].code)
		}
		if n == len(items) {
			done()
			return
		}
		s.sendMarkers(owner, items[n:], done)
	}
	t.start()
}
