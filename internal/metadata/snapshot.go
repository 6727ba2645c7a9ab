package metadata

// Records is the image as records, in the order of Kafka's own snapshots:
// features, registrations, topics with their partitions, configs, quotas,
// producer ids, security. Folding them into an empty image gives an image equal
// to this one; an open transaction is not part of either.
func (im *Image) Records() []Record {
	var out []Record
	out = im.appendFeatures(out)
	for _, b := range im.brokers {
		out = append(out, b)
	}
	for _, c := range im.controllers {
		out = append(out, c)
	}
	for _, t := range im.topics {
		out = append(out, &TopicRecord{Name: t.Name, TopicID: t.ID})
		for i := range t.Partitions {
			out = append(out, t.Partitions[i].record(t.ID))
		}
	}
	for i := range im.configs {
		out = appendConfigs(out, &im.configs[i])
	}
	out = im.appendKept(out, func(key uint32) bool { return key == (*ClientQuotaRecord)(nil).Key() })
	if im.nextProducerID > 0 {
		out = append(out, &ProducerIdsRecord{BrokerID: -1, BrokerEpoch: -1, NextProducerID: im.nextProducerID})
	}
	return im.appendKept(out, func(key uint32) bool { return key != (*ClientQuotaRecord)(nil).Key() })
}

// appendFeatures writes metadata.version first: it says how to read the rest.
func (im *Image) appendFeatures(out []Record) []Record {
	if level := im.Feature(MetadataVersion); level != 0 {
		out = append(out, &FeatureLevelRecord{Name: MetadataVersion, FeatureLevel: level})
	}
	for _, f := range im.features {
		if f.Name != MetadataVersion {
			out = append(out, &FeatureLevelRecord{Name: f.Name, FeatureLevel: f.Level})
		}
	}
	return out
}

func appendConfigs(out []Record, c *resourceConfigs) []Record {
	for _, e := range c.entries {
		out = append(out, newConfig(c.Resource, e.Name, &e.Value))
	}
	return out
}

func (im *Image) appendKept(out []Record, want func(key uint32) bool) []Record {
	for i := range im.kept {
		if want(im.kept[i].key) {
			out = append(out, im.kept[i].record)
		}
	}
	return out
}

func (p *Partition) record(topic UUID) *PartitionRecord {
	return &PartitionRecord{
		Version: partitionVersion, PartitionID: p.Index, TopicID: topic,
		Replicas: p.Replicas, ISR: p.ISR, RemovingReplicas: p.RemovingReplicas, AddingReplicas: p.AddingReplicas,
		Leader: p.Leader, LeaderRecoveryState: p.LeaderRecoveryState, LeaderEpoch: p.LeaderEpoch,
		PartitionEpoch: p.PartitionEpoch, Directories: p.Directories,
		EligibleLeaderReplicas: notEmpty(p.EligibleLeaderReplicas), LastKnownELR: notEmpty(p.LastKnownELR),
	}
}

// notEmpty leaves an empty list out of a record, as Kafka does.
func notEmpty(v []int32) []int32 {
	if len(v) == 0 {
		return nil
	}
	return v
}

func newConfig(res Resource, name string, value *string) *ConfigRecord {
	return &ConfigRecord{ResourceType: int8(res.Type), ResourceName: res.Name, Name: name, Value: value}
}
