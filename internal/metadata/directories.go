package metadata

import "slices"

// Which log directory of this node a partition is in, and what becomes of those whose directory has failed.

// Directory is a log directory of this node as the controller knows it.
type Directory struct {
	ID          UUID  // directory.id, of meta.properties
	UsableBytes int64 // of its file system, as of the last look
	Cordoned    bool  // cordoned.log.dirs: gets no new partitions

	placed int // partitions that the decision under way has put here
}

// online is whether a directory id names a place that can be served from: one that is registered, or an id that says that no
// place is known yet (Kafka's DirectoryId.isOnline).
func online(directory UUID, registered []UUID) bool {
	switch directory {
	case DirectoryUnassigned, DirectoryMigrating:
		return true
	case DirectoryLost:
		return false
	}
	return len(registered) == 0 || slices.Contains(registered, directory)
}

// Offline lists the replicas of a partition that cannot serve: their broker is out of service, or their directory is.
func (im *Image) Offline(p *Partition) (replicas []int32) {
	for i, id := range p.Replicas {
		b := im.Broker(id)
		if b == nil || b.Fenced || i < len(p.Directories) && !online(p.Directories[i], b.LogDirs) {
			replicas = append(replicas, id)
		}
	}
	return replicas
}

// Place chooses where a new partition of this node goes: to the directory where it gets the largest share of the usable
// bytes, if all partitions there, itself included, share alike; where shares are equal, to the one with fewer partitions, then
// to the first in log.dirs. So partitions that are created together spread by the space that there is, a directory that fills up
// gets fewer, and without any difference in space this is Kafka's rule, the fewest partitions.
func (c *Controller) Place() UUID {
	best, share, partitions := -1, 0.0, 0
	for i := range c.Directories {
		d := &c.Directories[i]
		if d.Cordoned {
			continue
		}
		n := c.Image.ReplicasIn(d.ID) + d.placed
		s := float64(max(d.UsableBytes, 0)) / float64(n+1)
		if best < 0 || s > share || s == share && n < partitions {
			best, share, partitions = i, s, n
		}
	}
	if best < 0 {
		return DirectoryUnassigned
	}
	c.Directories[best].placed++
	return c.Directories[best].ID
}

// begin forgets what an earlier decision has placed: it is in the image, or was refused.
func (c *Controller) begin() {
	for i := range c.Directories {
		c.Directories[i].placed = 0
	}
}

// cordoned says that none of this node's directories takes new partitions.
func (c *Controller) cordoned() bool {
	return len(c.Directories) > 0 && !slices.ContainsFunc(c.Directories, func(d Directory) bool { return !d.Cordoned })
}

// FailDirectory takes a log directory of this node out of service: the partitions in it have no leader, and the
// registration does not have it any more. The records need not be one batch.
func (c *Controller) FailDirectory(failed UUID) (records []Record) {
	c.Directories = slices.DeleteFunc(c.Directories, func(d Directory) bool { return d.ID == failed })
	elr := c.Image.Feature(featureELR) > 0
	for _, t := range c.Image.Topics() {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			if at := slices.Index(p.Replicas, c.NodeID); at >= 0 && p.Leader == c.NodeID && p.Directories[at] == failed {
				records = append(records, c.resign(t, p, elr))
			}
		}
	}
	b := c.Image.Broker(c.NodeID)
	if b == nil || !slices.Contains(b.LogDirs, failed) {
		return records
	}
	return append(records, &BrokerRegistrationChangeRecord{
		Version: directoriesVersion, BrokerID: c.NodeID, BrokerEpoch: b.BrokerEpoch,
		LogDirs: slices.DeleteFunc(slices.Clone(b.LogDirs), func(id UUID) bool { return id == failed }),
	})
}
