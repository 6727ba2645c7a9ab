package broker

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"slipstream/internal/metadata"
	"slipstream/ring"
	"slipstream/storage"
)

// `slipstream adopt --check`: what a start would find in data directories and what would stop it, by the functions that a
// start goes by, and without changing anything.

// Adoption is what a start would find.
type Adoption struct {
	ClusterID   string           `json:"cluster_id"`
	NodeID      int32            `json:"node_id"`
	Directories []AdoptedDir     `json:"directories"`
	Metadata    *AdoptedMetadata `json:"metadata,omitempty"` // nil: it could not be read
	Topics      int              `json:"topics"`
	Partitions  int              `json:"partitions"`
	Bytes       int64            `json:"bytes"`
	Contents    AdoptedContents  `json:"contents"`
	Notes       []string         `json:"notes"` // what is not served, left alone or lost
	Stops       []string         `json:"stops"` // why a start would refuse; empty: it would not
}

// AdoptedDir is a data directory.
type AdoptedDir struct {
	Path            string `json:"path"`
	DirectoryID     string `json:"directory_id"`
	Clean           bool   `json:"clean"` // stopped cleanly
	Partitions      int    `json:"partitions"`
	Bytes           int64  `json:"bytes"`
	RecoverSegments int    `json:"recover_segments"` // that a start would read whole
	RecoverBytes    int64  `json:"recover_bytes"`
}

// AdoptedMetadata is the metadata log.
type AdoptedMetadata struct {
	Directory string           `json:"directory"`
	Snapshot  string           `json:"snapshot"` // the one that a start would read; empty: none
	Behind    int64            `json:"bytes_behind_snapshot"`
	End       int64            `json:"end_offset"`
	Epoch     int32            `json:"epoch"`
	Torn      int64            `json:"torn_bytes"` // of a batch that nobody was told of
	Features  map[string]int16 `json:"features"`
}

// adoptCheck is an Adoption in the making.
type adoptCheck struct {
	Adoption
	b     *Broker // as a start has it, before it writes anything
	k     kernel
	image *metadata.Image
	taken []string // partitions that a start makes of copies that were being moved
}

// Adopt looks at the data directories of settings. anyNode says that settings do not say which node this is: then
// the directories do.
func Adopt(k ring.Kernel, settings Settings, anyNode bool) *Adoption {
	a := &adoptCheck{k: k, b: &Broker{kernel: k, settings: settings, nodeID: settings.NodeID, log: slog.New(slog.DiscardHandler)}}
	a.Notes, a.Stops = []string{}, []string{}
	a.Contents.OpenTransactions = []string{}
	if err := a.b.nameDirectories(); err != nil {
		a.stop("%v", err)
		return &a.Adoption
	}
	if !a.directories(anyNode) || !a.metadata() {
		return &a.Adoption
	}
	for i, d := range a.b.usable() {
		a.partitions(d, &a.Directories[i])
	}
	a.missing()
	a.notServed()
	a.contents()
	return &a.Adoption
}

func (a *adoptCheck) stop(format string, args ...any) {
	a.Stops = append(a.Stops, fmt.Sprintf(format, args...))
}
func (a *adoptCheck) note(format string, args ...any) {
	a.Notes = append(a.Notes, fmt.Sprintf(format, args...))
}

// directories finds out whose they are. It returns false where nothing more can be said.
func (a *adoptCheck) directories(anyNode bool) bool {
	used := false
	for _, d := range a.b.everyDir() {
		busy, err := storage.InUse(a.k, d.path)
		if err == nil && busy {
			err = inUse(d.path)
			used = true // what it holds is changing
		}
		if err != nil {
			a.stop("%v", err)
		}
		if m, err := storage.ReadMetaProperties(a.k, d.path); err == nil && anyNode {
			a.b.nodeID, anyNode = m.NodeID, false
		}
	}
	a.NodeID = a.b.nodeID
	if used {
		return false
	}
	if err := a.b.inspectAll(); err != nil {
		a.stop("%v", err)
		return false
	}
	if d := a.b.metaDir; d.fresh {
		a.stop("%s has no meta.properties: it is no broker's directory, a start would make a new one there", d.path)
		return false
	}
	a.ClusterID = a.b.metaDir.meta.ClusterID
	for _, d := range a.b.usable() {
		one := AdoptedDir{Path: d.path, DirectoryID: d.meta.DirectoryID.String()}
		var err error
		if one.Clean, _, err = storage.HasCleanShutdown(a.k, d.path); err != nil {
			a.stop("%v", err)
		}
		if d.fresh {
			a.note("data directory %s is new: a start takes it into use", d.path)
		}
		a.Directories = append(a.Directories, one)
	}
	for _, d := range a.b.dirs {
		if d.failed != nil {
			a.note("a start would go on without data directory %s: %v", d.path, d.failed)
		}
	}
	return true
}

// metadata reads the metadata log, as a start would. It returns false where there is none to go by.
func (a *adoptCheck) metadata() bool {
	m, err := readMetadataOf(a.k, a.b.metaDir.path, 1)
	if err == nil {
		why := m.refusals(a.NodeID)
		for _, s := range why {
			a.stop("data directory %s cannot be opened: %s", a.b.metaDir.path, s)
		}
		if len(why) == 0 {
			err = m.refused(a.b.metaDir.path, a.NodeID, a.b.where)
		}
	}
	if err != nil {
		a.stop("%v", err)
	}
	if m == nil {
		return false
	}
	a.image = m.images[0]
	a.Metadata = &AdoptedMetadata{Directory: m.dir, Behind: m.behind, End: m.end, Epoch: m.epoch, Torn: m.torn, Features: map[string]int16{}}
	if !m.empty && len(m.snapshots) > len(m.passed) {
		a.Metadata.Snapshot = m.from.FileName()
	}
	for _, f := range a.image.Features() {
		a.Metadata.Features[f.Name] = f.Level
	}
	if m.empty && err == nil && len(a.Stops) == 0 {
		a.note("the metadata log in %s has not begun: the directory was formatted and no broker has run in it", m.dir)
	}
	for _, p := range m.passed {
		a.note("metadata snapshot %s is damaged (%s): an older one is read instead", p.name, p.why)
	}
	if m.torn > 0 {
		a.note("the last %d bytes of the metadata log are a batch that was being written when the broker ended: they are cut off", m.torn)
	}
	return true
}

// partitions looks at the partitions' directories in a data directory.
func (a *adoptCheck) partitions(in *logDir, d *AdoptedDir) {
	entries, err := a.k.ReadDir(in.path)
	if err != nil {
		a.stop("data directory %s cannot be read: %v", d.Path, err)
		return
	}
	points, notes := storage.ReadCheckpoints(a.k, in.path)
	a.Notes = append(a.Notes, notes...)
	deleted := 0
	for _, e := range entries {
		if !e.Dir {
			continue
		}
		topic, partition, kind := storage.ParseDirName(e.Name)
		switch {
		case kind == storage.DirDeleted:
			deleted++
		case kind == storage.DirSetAside && a.isTaken(in, e.Name):
			topic, partition, _ := storage.ParseFutureDirName(e.Name)
			a.taken = append(a.taken, storage.DirName(topic, partition))
			a.note("%s/%s was being moved here and is the partition by now: a start gives it the name, as Kafka does", d.Path, e.Name)
			a.partition(d, e.Name, points)
		case kind == storage.DirSetAside:
			a.note("%s/%s is left alone: Kafka set it aside, or was moving it", d.Path, e.Name)
		case kind != storage.DirPartition || topic == metadata.MetadataTopic:
		case !wantedBy(a.image, topic, partition, storage.TopicIDOf(a.k, d.Path+"/"+e.Name)):
			a.note("%s/%s belongs to no topic: a start sets it aside, as Kafka does", d.Path, e.Name)
		default:
			a.partition(d, e.Name, points)
		}
	}
	if deleted > 0 {
		a.note("%d partitions in %s were being deleted: a start removes them", deleted, d.Path)
	}
}

// isTaken says whether a start takes a copy that was being moved for the partition.
func (a *adoptCheck) isTaken(in *logDir, name string) bool {
	topic, partition, ok := storage.ParseFutureDirName(name)
	return ok && a.b.isNow(a.image, in, topic, partition, storage.TopicIDOf(a.k, in.path+"/"+name))
}

func (a *adoptCheck) partition(d *AdoptedDir, name string, points storage.Checkpoints) {
	f, err := storage.ForecastOpen(a.k, d.Path+"/"+name, storage.OpenOptions{RecoveryPoint: points.RecoveryPoint[name], Clean: d.Clean})
	if err != nil {
		a.stop("partition %s cannot be opened: %v", name, err)
		return
	}
	d.Partitions++
	d.Bytes += f.Bytes
	d.RecoverSegments += f.ScanSegments
	d.RecoverBytes += f.ScanBytes
	a.Bytes += f.Bytes
}

// missing counts the topics, and tells of partitions whose logs are not there.
func (a *adoptCheck) missing() {
	var gone, elsewhere []string
	for _, t := range a.image.Topics() {
		a.Topics++
		for i := range t.Partitions {
			p := &t.Partitions[i]
			name := storage.DirName(t.Name, p.Index)
			if !slices.Contains(p.Replicas, a.NodeID) {
				continue
			}
			a.Partitions++
			switch {
			case a.b.where[name] != nil || slices.Contains(a.taken, name):
			case a.b.madeAnew(p):
				gone = append(gone, name)
			default:
				elsewhere = append(elsewhere, name)
			}
		}
	}
	if len(elsewhere) > 0 {
		a.note("%d partitions are in a data directory that was not named or has failed (%s): a start leaves them out of service", len(elsewhere), someOf(elsewhere))
	}
	if len(gone) > 0 {
		a.note("%d partitions of the metadata have no directory (%s): a start makes them, empty", len(gone), someOf(gone))
	}
}

// someOf is the first few of a list.
func someOf(names []string) string {
	const some = 5
	if len(names) > some {
		return strings.Join(names[:some], ", ") + ", ..."
	}
	return strings.Join(names, ", ")
}

// notServed tells of what the metadata has and this broker does not act on.
func (a *adoptCheck) notServed() {
	if v := a.image.Feature(metadata.MetadataVersion); v > 0 && v < metadata.MetadataLevel {
		a.note("metadata.version is %d and stays so; records are written as Kafka 4.3 writes them at %d, which older releases cannot read", v, metadata.MetadataLevel)
	}
	for _, b := range a.image.Brokers() {
		if b.BrokerID != a.NodeID {
			a.note("broker %d is registered: a start fences it, because this node is alone", b.BrokerID)
		}
	}
	elsewhere, shared := []string{}, []string{}
	for _, t := range a.image.Topics() {
		for i := range t.Partitions {
			switch p := &t.Partitions[i]; {
			case !slices.Contains(p.Replicas, a.NodeID):
				elsewhere = append(elsewhere, storage.DirName(t.Name, p.Index))
			case len(p.Replicas) > 1:
				shared = append(shared, storage.DirName(t.Name, p.Index))
			}
		}
		if v, _ := a.image.Config(metadata.Resource{Type: metadata.ResourceTopic, Name: t.Name}, "remote.storage.enable"); v == "true" {
			a.note("topic %s has remote.storage.enable: what is only in the remote tier cannot be read here", t.Name)
		}
	}
	if len(elsewhere) > 0 {
		a.note("%d partitions have no replica on this node (%s): they have no leader", len(elsewhere), someOf(elsewhere))
	}
	if len(shared) > 0 {
		a.note("%d partitions have replicas on other nodes (%s): only this node's copy is served", len(shared), someOf(shared))
	}
	count := map[string]int{}
	for _, r := range a.image.Kept() {
		count[metadata.RecordName(r)]++
	}
	if n := count["AccessControlEntryRecord"]; n > 0 {
		a.note("ACLs are kept and not enforced: %d", n)
	}
	if n := count["DelegationTokenRecord"]; n > 0 {
		a.note("delegation tokens are kept and not accepted: %d", n)
	}
	if n := count["UserScramCredentialRecord"]; n > 0 {
		a.note("SCRAM credentials are kept, and listeners are plain: %d", n)
	}
}
