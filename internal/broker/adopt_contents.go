package broker

import (
	"errors"
	"fmt"
	"slices"

	"slipstream/internal/group"
	"slipstream/internal/share"
	"slipstream/internal/txn"
	"slipstream/protocol"
	"slipstream/storage"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// What the coordinators' topics hold, for adopt --check: their logs are replayed by the machines that would serve them.

// AdoptedContents is what the coordinators would load.
type AdoptedContents struct {
	ClassicGroups    int      `json:"classic_groups"`
	ConsumerGroups   int      `json:"consumer_groups"`
	ShareGroups      int      `json:"share_groups"`
	CommittedOffsets int      `json:"committed_offsets"`
	ShareStates      int      `json:"share_states"`
	TransactionalIDs int      `json:"transactional_ids"`
	OpenTransactions []string `json:"open_transactions"` // ids, those that are being ended too
	Unknown          int      `json:"unknown_records"`   // of types that a newer release, or another protocol, writes
}

func (a *adoptCheck) contents() {
	c := &a.Contents
	a.eachPartition("__consumer_offsets", a.groups)
	a.eachPartition("__share_group_state", a.shareStates)
	a.eachPartition("__transaction_state", a.transactions)
	slices.Sort(c.OpenTransactions)
	if c.Unknown > 0 {
		a.note("%d records of groups are of types that are not served, as streams groups are: they are left in the log", c.Unknown)
	}
}

// eachPartition calls f with what is there of a topic's partitions. What cannot be loaded stops no start: that coordinator
// would be out of service.
func (a *adoptCheck) eachPartition(topic string, f func(dir string) error) {
	t := a.image.TopicByName(topic)
	if t == nil {
		return
	}
	for i := range t.Partitions {
		name := storage.DirName(topic, t.Partitions[i].Index)
		in := a.b.where[name]
		if in == nil {
			continue
		}
		if err := f(in.path + "/" + name); err != nil {
			a.note("%s cannot be loaded, its coordinator would be out of service: %v", name, err)
		}
	}
}

func (a *adoptCheck) groups(dir string) error {
	s := &Shard{image: a.image, metadataOffset: a.Metadata.End - 1}
	groups := group.New(group.Options{Settings: a.b.settings.Topics.Groups(BrokerConfigs{}), Topics: clusterTopics{s}})
	err := a.replay(dir, func(r *loadedRecord) error {
		if r.marker {
			groups.ReplayMarker(r.offset, r.producerID, r.commit)
			return nil
		}
		if _, err := group.DecodeKey(r.key); errors.As(err, new(*group.UnknownRecordError)) {
			a.Contents.Unknown++
		}
		return groups.Replay(r.offset, r.producerID, r.key, r.value)
	})
	if err != nil {
		return err
	}
	groups.Loaded(a.k.Wall() / 1e6)
	var f group.Figures
	for from := groups.Count(0, 1<<30, &f); from > 0; from = groups.Count(from, 1<<30, &f) {
	}
	c := &a.Contents
	for _, n := range f.Classic {
		c.ClassicGroups += n
	}
	for _, n := range f.Consumer {
		c.ConsumerGroups += n
	}
	for _, n := range f.Share {
		c.ShareGroups += n
	}
	c.CommittedOffsets += f.Offsets
	return nil
}

func (a *adoptCheck) shareStates(dir string) error {
	states := share.NewCoordinator(share.Settings{})
	err := a.replay(dir, func(r *loadedRecord) error {
		if err := states.Replay(r.offset, r.key, r.value); err != nil && !errors.As(err, new(*share.UnknownRecordError)) {
			return err
		}
		return nil
	})
	a.Contents.ShareStates += states.Count()
	return err
}

func (a *adoptCheck) transactions(dir string) error {
	coordinator := txn.New(txn.Config{}, 0)
	err := a.replay(dir, func(r *loadedRecord) error {
		if err := coordinator.Load(r.key, r.value); err != nil && !errors.Is(err, txn.ErrVersion) {
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	a.Contents.TransactionalIDs += coordinator.Count()
	filter, _, _ := txn.ParseFilter(kmsg.NewPtrListTransactionsRequest())
	all, _ := coordinator.List(a.k.Wall()/1e6, &filter, txn.ListAll, txn.ListAll, nil)
	for _, x := range all {
		switch x.TransactionState {
		case "Ongoing", "PrepareCommit", "PrepareAbort", "PrepareEpochFence":
			a.Contents.OpenTransactions = append(a.Contents.OpenTransactions, x.TransactionalID)
		}
	}
	return nil
}

// replay reads a log as far as it is whole.
func (a *adoptCheck) replay(dir string, f func(*loadedRecord) error) error {
	entries, err := a.k.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, suffix, ok := storage.ParseFileName(e.Name); !ok || suffix != ".log" {
			continue
		}
		if err := a.replaySegment(dir+"/"+e.Name, f); err != nil {
			return fmt.Errorf("%s: %w", e.Name, err)
		}
	}
	return nil
}

func (a *adoptCheck) replaySegment(path string, f func(*loadedRecord) error) error {
	log, err := storage.OpenLogFile(a.k, path)
	if err != nil {
		return err
	}
	defer log.Close()
	scratch := scratches.Get().(*protocol.Scratch)
	defer scratches.Put(scratch)
	for position := int64(0); position < log.Size(); {
		b, err := log.Batch(position)
		if errors.Is(err, storage.ErrNoBatch) || errors.Is(err, storage.ErrBatchCRC) {
			return nil // a start cuts the log here, or refuses it: `log verify` tells
		}
		if err != nil {
			return err
		}
		var l coordinatorLoad
		if _, err := l.take(b, scratch); err != nil {
			return err
		}
		for i := range l.records {
			if err := f(&l.records[i]); err != nil {
				return err
			}
		}
		position += int64(len(b))
	}
	return nil
}
