package metadata

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// How each record changes the image. Slices that came from records or that a
// caller may hold are replaced, never written to.

func (im *Image) addTopic(r *TopicRecord) error {
	if im.byName[r.Name] != nil {
		return fmt.Errorf("metadata: topic %q is created twice", r.Name)
	}
	if im.byID[r.TopicID] != nil {
		return fmt.Errorf("metadata: topic id %s of %q is taken", r.TopicID, r.Name)
	}
	t := &Topic{Name: r.Name, ID: r.TopicID}
	im.byName[t.Name], im.byID[t.ID] = t, t
	i, _ := im.searchTopic(t.Name)
	im.topics = slices.Insert(im.topics, i, t)
	if metric, ok := metricName(t.Name); ok {
		names := im.metricNames[metric]
		at, _ := slices.BinarySearch(names, t.Name)
		im.metricNames[metric] = slices.Insert(names, at, t.Name)
	}
	return nil
}

// metricName is a topic's name as a metric has it; ok is false for a name that
// cannot collide with another.
func metricName(name string) (metric string, ok bool) {
	if !strings.ContainsAny(name, "._") {
		return "", false
	}
	return strings.ReplaceAll(name, ".", "_"), true
}

// collision finds a topic of another name and the same metric name.
func (im *Image) collision(name string) (other string, found bool) {
	metric, ok := metricName(name)
	if !ok {
		return "", false
	}
	for _, other := range im.metricNames[metric] {
		if other != name {
			return other, true
		}
	}
	return "", false
}

func (im *Image) searchTopic(name string) (int, bool) {
	return slices.BinarySearchFunc(im.topics, name, func(t *Topic, s string) int { return strings.Compare(t.Name, s) })
}

func (im *Image) removeTopic(r *RemoveTopicRecord) error {
	t := im.byID[r.TopicID]
	if t == nil {
		return fmt.Errorf("metadata: unknown topic %s is removed", r.TopicID)
	}
	delete(im.byName, t.Name)
	delete(im.byID, t.ID)
	i, _ := im.searchTopic(t.Name)
	im.topics = slices.Delete(im.topics, i, i+1)
	im.partitions -= len(t.Partitions)
	for i := range t.Partitions {
		im.count(&t.Partitions[i], -1)
	}
	im.forgetMetricName(t.Name)
	if i, ok := im.searchConfigs(Resource{ResourceTopic, t.Name}); ok {
		im.configs = slices.Delete(im.configs, i, i+1)
	}
	return nil
}

func (im *Image) forgetMetricName(name string) {
	metric, ok := metricName(name)
	if !ok {
		return
	}
	names := slices.DeleteFunc(im.metricNames[metric], func(s string) bool { return s == name })
	if len(names) == 0 {
		delete(im.metricNames, metric)
	} else {
		im.metricNames[metric] = names
	}
}

func (im *Image) setPartition(r *PartitionRecord) error {
	t := im.byID[r.TopicID]
	if t == nil {
		return fmt.Errorf("metadata: partition %d of unknown topic %s", r.PartitionID, r.TopicID)
	}
	if r.PartitionID < 0 {
		return fmt.Errorf("metadata: partition %d of topic %q", r.PartitionID, t.Name)
	}
	if len(r.Directories) != 0 && len(r.Directories) != len(r.Replicas) {
		return fmt.Errorf("metadata: partition %d of topic %q has %d replicas and %d directories",
			r.PartitionID, t.Name, len(r.Replicas), len(r.Directories))
	}
	p := Partition{
		Index: r.PartitionID, Replicas: r.Replicas, ISR: r.ISR,
		RemovingReplicas: r.RemovingReplicas, AddingReplicas: r.AddingReplicas,
		EligibleLeaderReplicas: r.EligibleLeaderReplicas, LastKnownELR: r.LastKnownELR,
		Directories: directoriesOf(r), Leader: r.Leader, LeaderEpoch: r.LeaderEpoch,
		PartitionEpoch: r.PartitionEpoch, LeaderRecoveryState: r.LeaderRecoveryState,
	}
	im.count(&p, 1)
	if i, ok := t.search(p.Index); ok {
		im.count(&t.Partitions[i], -1)
		t.Partitions[i] = p
	} else {
		t.Partitions = slices.Insert(t.Partitions, i, p)
		im.partitions++
	}
	return nil
}

// directoriesOf gives a partition from before directories had ids one id a
// replica, as Kafka does: DirectoryMigrating.
func directoriesOf(r *PartitionRecord) []UUID {
	if len(r.Directories) == len(r.Replicas) {
		return r.Directories
	}
	return make([]UUID, len(r.Replicas))
}

func (im *Image) changePartition(r *PartitionChangeRecord) error {
	t := im.byID[r.TopicID]
	if t == nil {
		return fmt.Errorf("metadata: change of partition %d of unknown topic %s", r.PartitionID, r.TopicID)
	}
	p := t.Partition(r.PartitionID)
	if p == nil {
		return fmt.Errorf("metadata: change of unknown partition %d of topic %q", r.PartitionID, t.Name)
	}
	next := p.changed(r)
	if len(next.Directories) != len(next.Replicas) {
		return fmt.Errorf("metadata: change of partition %d of topic %q leaves %d replicas and %d directories",
			r.PartitionID, t.Name, len(next.Replicas), len(next.Directories))
	}
	im.count(p, -1)
	im.count(&next, 1)
	*p = next
	return nil
}

// changed is p after a change.
func (p Partition) changed(r *PartitionChangeRecord) Partition {
	replace := func(dst *[]int32, v []int32) {
		if v != nil {
			*dst = v
		}
	}
	replace(&p.Replicas, r.Replicas)
	replace(&p.ISR, r.ISR)
	replace(&p.RemovingReplicas, r.RemovingReplicas)
	replace(&p.AddingReplicas, r.AddingReplicas)
	replace(&p.EligibleLeaderReplicas, r.EligibleLeaderReplicas)
	replace(&p.LastKnownELR, r.LastKnownELR)
	if r.Directories != nil {
		p.Directories = r.Directories
	}
	if r.Leader != NoLeaderChange {
		p.Leader = r.Leader
		p.LeaderEpoch++
	}
	if r.LeaderRecoveryState >= 0 {
		p.LeaderRecoveryState = r.LeaderRecoveryState
	}
	p.PartitionEpoch++
	return p
}

func (im *Image) clearELR(r *ClearElrRecord) error {
	if r.TopicName == "" {
		for _, t := range im.topics {
			t.clearELR()
		}
		return nil
	}
	t := im.byName[r.TopicName]
	if t == nil {
		return fmt.Errorf("metadata: eligible leaders of unknown topic %q are cleared", r.TopicName)
	}
	t.clearELR()
	return nil
}

func (t *Topic) clearELR() {
	for i := range t.Partitions {
		p := &t.Partitions[i]
		if len(p.EligibleLeaderReplicas) == 0 && len(p.LastKnownELR) == 0 {
			continue
		}
		p.EligibleLeaderReplicas, p.LastKnownELR = nil, nil
		p.PartitionEpoch++
	}
}

func (im *Image) setConfig(r *ConfigRecord) {
	res := Resource{ResourceType(r.ResourceType), r.ResourceName}
	i, ok := im.searchConfigs(res)
	if r.Value == nil {
		if ok {
			im.deleteConfig(i, r.Name)
		}
		return
	}
	if !ok {
		im.configs = slices.Insert(im.configs, i, resourceConfigs{Resource: res})
	}
	entries := slices.Clone(im.configs[i].entries)
	e := ConfigEntry{r.Name, *r.Value}
	if at, ok := searchEntry(entries, r.Name); ok {
		entries[at] = e
	} else {
		entries = slices.Insert(entries, at, e)
	}
	im.configs[i].entries = entries
}

func (im *Image) deleteConfig(i int, name string) {
	entries := im.configs[i].entries
	at, ok := searchEntry(entries, name)
	if !ok {
		return
	}
	if len(entries) == 1 {
		im.configs = slices.Delete(im.configs, i, i+1)
		return
	}
	im.configs[i].entries = slices.Delete(slices.Clone(entries), at, at+1)
}

func (im *Image) setFeature(r *FeatureLevelRecord) {
	i, ok := im.searchFeature(r.Name)
	switch {
	case ok && r.FeatureLevel == 0:
		im.features = slices.Delete(slices.Clone(im.features), i, i+1)
	case ok:
		im.features[i].Level = r.FeatureLevel
	case r.FeatureLevel != 0:
		im.features = slices.Insert(im.features, i, FeatureLevel{r.Name, r.FeatureLevel})
	}
}

func (im *Image) advanceProducerIDs(r *ProducerIdsRecord) error {
	if r.NextProducerID <= im.nextProducerID {
		return fmt.Errorf("metadata: next producer id goes from %d back to %d", im.nextProducerID, r.NextProducerID)
	}
	im.nextProducerID = r.NextProducerID
	return nil
}

func (im *Image) registerBroker(r *RegisterBrokerRecord) {
	if i, ok := im.searchBroker(r.BrokerID); ok {
		im.brokers[i] = r
	} else {
		im.brokers = slices.Insert(im.brokers, i, r)
	}
}

func (im *Image) unregisterBroker(r *UnregisterBrokerRecord) error {
	i, ok := im.searchBroker(r.BrokerID)
	if !ok || im.brokers[i].BrokerEpoch != r.BrokerEpoch {
		return fmt.Errorf("metadata: broker %d with epoch %d is unregistered and not registered", r.BrokerID, r.BrokerEpoch)
	}
	im.brokers = slices.Delete(im.brokers, i, i+1)
	return nil
}

// changeBroker replaces a registration by a changed copy.
func (im *Image) changeBroker(r Record, id int32, epoch int64, change func(*RegisterBrokerRecord)) error {
	i, ok := im.searchBroker(id)
	if !ok {
		return fmt.Errorf("metadata: %s for broker %d, which is not registered", RecordName(r), id)
	}
	if im.brokers[i].BrokerEpoch != epoch {
		return fmt.Errorf("metadata: %s for broker %d with epoch %d, registered is epoch %d",
			RecordName(r), id, epoch, im.brokers[i].BrokerEpoch)
	}
	b := *im.brokers[i]
	change(&b)
	im.brokers[i] = &b
	return nil
}

func (r *BrokerRegistrationChangeRecord) change(b *RegisterBrokerRecord) {
	if r.Fenced != 0 {
		b.Fenced = r.Fenced > 0
	}
	if r.InControlledShutdown != 0 {
		b.InControlledShutdown = true
	}
	if len(r.LogDirs) > 0 {
		b.LogDirs = r.LogDirs
	}
	if r.CordonedLogDirs != nil {
		b.CordonedLogDirs = r.CordonedLogDirs
	}
}

func (im *Image) registerController(r *RegisterControllerRecord) {
	i, ok := slices.BinarySearchFunc(im.controllers, r.ControllerID,
		func(c *RegisterControllerRecord, id int32) int { return cmp.Compare(c.ControllerID, id) })
	if ok {
		im.controllers[i] = r
	} else {
		im.controllers = slices.Insert(im.controllers, i, r)
	}
}
