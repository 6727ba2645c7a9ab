package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"slipstream/internal/metadata"
	"slipstream/protocol"
	"slipstream/reactor"
	"slipstream/ring"
	"slipstream/storage"
)

// Opening a data directory is blocking work, done before any core turns:
//
//	.lock -> meta.properties -> metadata log -> image -> partitions -> shards
//
// Nothing is written to a directory that turns out to be somebody else's.

// Report is what start-up found, for the screen.
type Report struct {
	Addresses  []string
	NodeID     int32
	ClusterID  string
	DataDir    string
	Cores      int
	Level      string
	Writer     string // and why
	WriterName string
	Topics     int
	Partitions int
	Recovered  storage.RecoveryReport // of all partitions together
	Clean      bool                   // the last shutdown was
	TookMillis int64                  // from Serve's call until clients could connect
	Warm       WarmReport
}

// metadataDir is where the metadata log is, in the data directory.
const metadataDir = "__cluster_metadata-0"

// New opens the data directory and makes the broker's cores, which do not turn
// yet. helpers run the cores' blocking work. On an error nothing is left open.
func New(s Settings, k kernel, helpers reactor.Helpers, log *slog.Logger) (*Broker, error) {
	b := &Broker{
		log: log, settings: s, kernel: k, dir: s.DataDir, lock: -1,
		nodeID:     s.NodeID,
		autoCreate: s.AutoCreateTopics, fetchMaxBytes: s.FetchMaxBytes, fetchSessionSlots: s.FetchSessionSlots / max(s.Cores, 1),
	}
	b.logDir = b.dir
	if abs, err := filepath.Abs(b.dir); err == nil {
		b.logDir = abs
	}
	b.consumerGroups = slices.Contains(s.Topics.GroupProtocols(), "consumer")
	b.state.Store(int32(StateStarting))
	if err := b.open(helpers); err != nil {
		b.release()
		return nil, err
	}
	return b, nil
}

func (b *Broker) open(helpers reactor.Helpers) error {
	if err := b.takeDirectory(); err != nil {
		return err
	}
	if err := b.bind(); err != nil {
		return err
	}
	if err := b.identify(); err != nil {
		return err
	}
	b.makeShards(helpers)
	if err := b.openMetadata(); err != nil {
		return err
	}
	if err := b.chooseWriter(); err != nil {
		return err
	}
	return b.openPartitions()
}

// release gives back what a failed start took.
func (b *Broker) release() {
	for _, fd := range b.listeners {
		b.kernel.CloseNow(fd)
	}
	b.listeners = nil
	if b.lock >= 0 {
		b.kernel.Close(b.lock)
		b.lock = -1
	}
}

// takeDirectory makes the data directory if there is none and locks it.
func (b *Broker) takeDirectory() error {
	k := b.kernel
	if err := makeDirs(k, b.dir); err != nil {
		return fmt.Errorf("data directory %s cannot be made: %w", b.dir, err)
	}
	fd, err := storage.Lock(k, b.dir)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("data directory %s is in use by another process: stop that broker first, or choose another --data-dir", b.dir)
	} else if err != nil {
		return fmt.Errorf("data directory %s cannot be locked: %w", b.dir, err)
	}
	b.lock = fd
	return nil
}

// makeDirs is mkdir -p.
func makeDirs(k kernel, dir string) error {
	info, err := k.Stat(dir)
	if err == nil {
		if !info.Dir {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := makeDirs(k, parent); err != nil {
			return err
		}
	}
	return k.Mkdir(dir, 0o755)
}

// syncAncestors makes the name of a new data directory durable, and those of the
// directories that were made on the way to it, perhaps by a start that was killed.
// What may not be opened was not made by us; some file systems sync no directories.
func syncAncestors(k kernel, dir string) error {
	for parent := filepath.Dir(dir); parent != dir; dir, parent = parent, filepath.Dir(parent) {
		if err := k.SyncDir(parent); err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EINVAL) {
			return err
		}
	}
	return nil
}

// identify reads meta.properties, or writes one into a directory that is new.
func (b *Broker) identify() error {
	m, err := storage.ReadMetaProperties(b.kernel, b.dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := b.checkEmpty(); err != nil {
			return err
		}
		m = storage.MetaProperties{ClusterID: b.settings.ClusterID, NodeID: b.nodeID, DirectoryID: b.randomID()}
		if m.ClusterID == "" {
			m.ClusterID = b.randomID().String()
		}
		if err = storage.MakeDataDir(b.kernel, b.dir); err == nil {
			err = syncAncestors(b.kernel, b.dir)
		}
		if err == nil {
			err = storage.WriteMetaProperties(b.kernel, b.dir, m, b.kernel.Wall())
		}
	}
	if err != nil {
		return err
	}
	if m.NodeID != b.nodeID {
		return fmt.Errorf("data directory %s belongs to node %d, and node.id is %d: set node.id=%d, or choose another --data-dir",
			b.dir, m.NodeID, b.nodeID, m.NodeID)
	}
	if b.settings.ClusterID != "" && b.settings.ClusterID != m.ClusterID {
		return fmt.Errorf("data directory %s belongs to cluster %s, not %s", b.dir, m.ClusterID, b.settings.ClusterID)
	}
	b.clusterID, b.directoryID = m.ClusterID, m.DirectoryID
	return nil
}

// checkEmpty refuses to make a data directory out of one that holds other things.
func (b *Broker) checkEmpty() error {
	entries, err := b.kernel.ReadDir(b.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !b.leftByFirstStart(e) {
			return fmt.Errorf("data directory %s has no meta.properties but is not empty (%s): it is no broker's, choose another --data-dir", b.dir, e.Name)
		}
	}
	return nil
}

// leftByFirstStart says whether a first start that was cut short may have left
// this: it makes its checkpoint files, empty, before meta.properties.
func (b *Broker) leftByFirstStart(e ring.DirEntry) bool {
	switch {
	case e.Name == ".lock", e.Name == "lost+found", strings.HasSuffix(e.Name, ".tmp"):
		return true
	case strings.HasSuffix(e.Name, "-offset-checkpoint"):
		info, err := b.kernel.Stat(b.dir + "/" + e.Name)
		return err == nil && info.Size == 0
	}
	return false
}

// randomID is a random id as Kafka draws them: never one of the reserved ones,
// never one whose text begins with a dash (tools would take it for a flag).
func (b *Broker) randomID() protocol.UUID {
	for {
		var u protocol.UUID
		b.kernel.Random(u[:])
		u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
		if !strings.HasPrefix(u.String(), "-") {
			return u
		}
	}
}

// bind opens the listening sockets, one for each core, so that a port in use is
// known before anything is changed. They are armed when the broker is ready.
func (b *Broker) bind() error {
	addr := b.settings.Listen
	shared := b.settings.Cores > 1
	if shared && addr.Port() != 0 {
		// Cores share the port by SO_REUSEPORT, and so could another broker of this
		// user: a socket that does not share finds out.
		fd, _, err := b.listenPatiently(addr, false)
		if err != nil {
			return err
		}
		b.kernel.CloseNow(fd)
	}
	for i := range b.settings.Cores {
		fd, bound, err := b.listenPatiently(addr, shared)
		if err != nil {
			return err
		}
		b.listeners = append(b.listeners, fd)
		if i == 0 {
			b.bound, addr = bound, bound
		}
	}
	b.advertisedHost, b.advertisedPort = b.settings.AdvertisedHost, b.settings.AdvertisedPort
	if b.advertisedHost == "" {
		b.advertisedHost = b.bound.Addr().Unmap().String()
	}
	if b.advertisedPort == 0 {
		b.advertisedPort = int32(b.bound.Port())
	}
	return nil
}

// listenPatiently listens. The kernel takes a moment to end the rings, and with
// them the listening socket, of a process that was killed: a supervisor that
// starts the next one at once should not be told that the port is in use.
func (b *Broker) listenPatiently(addr netip.AddrPort, shared bool) (fd int, bound netip.AddrPort, err error) {
	const attempts, pause = 20, 100 * time.Millisecond
	for range attempts {
		fd, bound, err = b.kernel.Listen(addr, b.settings.Backlog, shared)
		if !errors.Is(err, syscall.EADDRINUSE) {
			return fd, bound, err // an error says on which address, and what the kernel said
		}
		time.Sleep(pause)
	}
	return -1, bound, fmt.Errorf("address %s is in use by another process: stop it, or choose another --listen", addr)
}

func (b *Broker) makeShards(helpers reactor.Helpers) {
	for range b.settings.Cores {
		b.shards = append(b.shards, newShard(b))
	}
	for i, s := range b.shards {
		cfg := reactor.Config{
			ID: i, Kernel: b.kernel, Level: b.settings.Level, Wait: b.settings.Wait, SpinNanos: b.settings.SpinNanos,
			Limits: b.settings.Limits, Helpers: helpers, Rung: b.settings.Rung,
		}
		if b.settings.Observers != nil {
			cfg.Observer = b.settings.Observers(i)
		}
		if b.settings.Pin {
			cfg.CPU = i + 1
		}
		s.core = reactor.NewCore(cfg, s)
		s.door.shard, s.doorkeeper.core = s, s.core
		b.cores = append(b.cores, s.core)
	}
	reactor.Join(b.cores)
}

// chooseWriter measures how appends reach the page cache fastest on this file
// system, unless a setting says how, and makes each core's store.
func (b *Broker) chooseWriter() error {
	writer := b.settings.Writer
	if writer == storage.WriterAuto {
		probed, err := storage.ProbeWriter(b.kernel, b.dir)
		if err != nil {
			return fmt.Errorf("data directory %s cannot be written: %w", b.dir, err)
		}
		writer = probed.Writer
		b.report.Writer = fmt.Sprintf("%s (%s: a 16 KiB append takes %.1f us inline, %.1f us by the ring)",
			writer, probed.FileSystem, float64(probed.InlineNanos)/1e3, float64(probed.RingNanos)/1e3)
	} else {
		b.report.Writer = writer.String() + " (forced)"
	}
	b.report.WriterName = writer.String()
	zeros := b.settings.ZerosAhead && b.hasJournal()
	for _, s := range b.shards {
		s.store = storage.NewStore(s.core, storage.StoreOptions{
			Writer: writer, MaxFiles: max(b.settings.MaxOpenFiles/len(b.shards), 16),
			WritebackMillis: b.settings.WritebackMillis, TailBytes: b.settings.WarmBytes, ZerosAhead: zeros,
			RetentionCheckMillis: b.settings.RetentionCheckMillis,
			Note:                 func(message string) { b.log.Error("storage", "note", message) },
		})
	}
	b.shards[controllerCore].store.Adopt(b.shards[controllerCore].controller.log)
	return nil
}

// hasJournal says whether the data directory's file system commits a journal for
// a file that grows, and writes in place into one that does not.
func (b *Broker) hasJournal() bool {
	name, err := b.kernel.FileSystem(b.dir)
	return err == nil && (name == "ext4" || name == "xfs" || name == "sim")
}

// opening is one partition to open.
type opening struct {
	topic     *topicState
	partition int32
	epoch     int32
	opened    *storage.Partition
	report    storage.RecoveryReport
	err       error
}

// openPartitions opens every partition of the image, several at once, and gives
// each to its core.
func (b *Broker) openPartitions() error {
	work := b.partitionsToOpen()
	points, notes := storage.ReadCheckpoints(b.kernel, b.dir)
	for _, note := range notes {
		b.log.Warn("checkpoint files", "note", note)
	}
	var err error
	b.report.Clean, _, err = storage.TakeCleanShutdown(b.kernel, b.dir)
	if err != nil {
		return err
	}
	if err := storage.RemoveDeleted(b.kernel, b.dir); err != nil {
		return err
	}
	strays, err := storage.SetAsideStrays(b.kernel, b.dir, b.wanted)
	if err != nil {
		return err
	}
	for _, name := range strays {
		b.log.Warn("set aside a directory that belongs to no topic", "directory", name)
	}
	b.openAll(work, points)
	for _, o := range work {
		if o.err != nil {
			return fmt.Errorf("partition %s-%d cannot be opened: %w", o.topic.name, o.partition, o.err)
		}
		b.give(o)
	}
	b.report.Topics, b.report.Partitions = len(b.shards[0].topics), len(work)
	return nil
}

// wanted says whether a partition directory belongs to a topic of the image. id
// is zero where the directory does not say.
func (b *Broker) wanted(topic string, partition int32, id protocol.UUID) bool {
	if topic == metadata.MetadataTopic {
		return true
	}
	t := b.shards[controllerCore].image.TopicByName(topic)
	return t != nil && t.Partition(partition) != nil && (id == protocol.UUID{} || id == protocol.UUID(t.ID))
}

func (b *Broker) partitionsToOpen() (work []*opening) {
	for _, t := range b.shards[0].image.Topics() {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			work = append(work, &opening{topic: b.shards[0].topics[protocol.UUID(t.ID)], partition: p.Index, epoch: p.LeaderEpoch})
		}
	}
	return work
}

// openAll opens partitions on several goroutines and logs progress once it has
// taken a second.
func (b *Broker) openAll(work []*opening, points storage.Checkpoints) {
	var next, done atomic.Int64
	var wait sync.WaitGroup
	finished := make(chan struct{})
	threads := min(max(b.recoveryThreads(), 1), max(len(work), 1))
	open := func() {
		for i := next.Add(1) - 1; i < int64(len(work)); i = next.Add(1) - 1 {
			b.openOne(work[i], points)
			done.Add(1)
		}
	}
	if threads == 1 {
		open() // in order, as the simulator needs it
		return
	}
	for range threads {
		wait.Go(open)
	}
	go func() { wait.Wait(); close(finished) }()
	for tick := time.NewTicker(time.Second); ; {
		select {
		case <-finished:
			tick.Stop()
			return
		case <-tick.C:
			b.log.Info("opening partitions", "done", done.Load(), "of", len(work))
		}
	}
}

func (b *Broker) openOne(o *opening, points storage.Checkpoints) {
	name := storage.DirName(o.topic.name, o.partition)
	dir := b.dir + "/" + name
	id := storage.TopicPartition{Topic: o.topic.name, TopicID: o.topic.id, Partition: o.partition}
	if _, err := b.kernel.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		// Committed, but the crash came before the directory was made.
		o.opened, o.err = storage.Create(b.kernel, dir, id, o.topic.settings, o.epoch)
		return
	}
	o.opened, o.report, o.err = storage.Open(b.kernel, dir, o.topic.settings, storage.OpenOptions{
		RecoveryPoint: points.RecoveryPoint[name], LogStart: points.LogStart[name],
		CleanedTo: points.CleanedTo[name],
		Clean:     b.report.Clean, ID: id,
	})
	if o.err == nil && o.opened.ID().TopicID != o.topic.id {
		o.err = fmt.Errorf("directory %s belongs to a topic of id %s, the metadata says %s", dir, o.opened.ID().TopicID, o.topic.id)
	}
	if o.err == nil {
		o.opened.SetLeaderEpoch(o.epoch)
	}
}

// give hands an opened partition to the core that owns it.
func (b *Broker) give(o *opening) {
	key := partitionKey{o.topic.id, o.partition}
	s := b.shards[b.ownerOf(key)]
	h := &hosted{key: key, topic: s.topics[key.topic], leaderEpoch: o.epoch, log: o.opened}
	s.hosted[key] = h
	s.store.Adopt(o.opened)
	s.coordinate(h)
	r := &b.report.Recovered
	r.Segments += o.report.Segments
	r.SegmentsScanned += o.report.SegmentsScanned
	r.BytesScanned += o.report.BytesScanned
	r.BytesCut += o.report.BytesCut
	r.IndexesRebuilt += o.report.IndexesRebuilt
	for _, note := range o.report.Notes {
		b.log.Warn("recovered", "topic", o.topic.name, "partition", o.partition, "note", note)
	}
}

// openMetadata opens the metadata log and folds it into every core's image.
func (b *Broker) openMetadata() error {
	k, dir := b.kernel, b.dir+"/"+metadataDir
	id := storage.TopicPartition{Topic: "__cluster_metadata", TopicID: protocol.UUID(metadata.MetadataTopicID)}
	if err := makeDirs(k, dir); err != nil {
		return err
	}
	cfg := storage.DefaultConfig()
	cfg.Deletable = false // only a snapshot could stand for what were gone
	cfg.FlushMessages = 1
	cfg.MaxMessageBytes = 64 << 20
	var log *storage.Partition
	_, err := k.Stat(dir + "/partition.metadata")
	if errors.Is(err, fs.ErrNotExist) {
		if err := b.format(dir); err != nil {
			return fmt.Errorf("the metadata directory cannot be made: %w", err)
		}
		if log, err = storage.Create(k, dir, id, cfg, 1); err != nil {
			return fmt.Errorf("the metadata log cannot be made: %w", err)
		}
	} else {
		log, _, err = storage.Open(k, dir, cfg, storage.OpenOptions{})
		if err != nil {
			return fmt.Errorf("the metadata log cannot be opened: %w", err)
		}
	}
	logEpoch, err := b.foldMetadata(dir)
	if err != nil {
		return err
	}
	if b.epoch, err = b.electSelf(dir, logEpoch); err != nil {
		return err
	}
	log.SetLeaderEpoch(b.epoch)
	first := b.shards[controllerCore]
	first.controller = &controller{shard: first, log: log, rules: &metadata.Controller{
		Image: first.image, NodeID: b.nodeID, Configs: b.settings.Topics,
		RandomID:      func() metadata.UUID { return metadata.UUID(b.randomID()) },
		NumPartitions: b.settings.NumPartitions, ReplicationFactor: b.settings.ReplicationFactor,
	}}
	if k, ok := b.settings.Topics.(kafkaSettings); ok {
		k.cluster = first.brokerConfigs // only the controller describes, on core 0
		first.controller.rules.Configs = k
	}
	for _, s := range b.shards {
		s.telemetry.subscribe(s.image)
		for _, t := range s.image.Topics() {
			s.addTopic(protocol.UUID(t.ID), t.Name).grow(len(t.Partitions))
		}
		s.loadQuotas()
	}
	return nil
}

// format writes what Kafka's own format leaves in a new directory, so that a
// Kafka controller can open it: the bootstrap records and the voters.
func (b *Broker) format(dir string) error {
	now := b.kernel.Wall() / 1e6
	bootstrap := metadata.AppendSnapshot(nil, metadata.Snapshot{TimestampMillis: now}, metadata.BootstrapFeatures())
	if err := storage.ReplaceFile(b.kernel, b.dir+"/bootstrap.checkpoint", bootstrap); err != nil {
		return err
	}
	voters := metadata.AppendSnapshot(nil, metadata.Snapshot{
		TimestampMillis: now, KRaftVersion: &metadata.KRaftVersion{KRaftVersion: 1}, Voters: b.voters(),
	}, nil)
	return storage.ReplaceFile(b.kernel, dir+"/00000000000000000000-0000000000.checkpoint", voters)
}

// kafkaControllerPort is where Kafka's examples have the controller listen. The
// set of voters must name an endpoint; a Kafka that opens the directory corrects it.
const kafkaControllerPort = 9093

// voters is the set of voters of the metadata log: this node alone.
func (b *Broker) voters() *metadata.Voters {
	return metadata.VotersAlone(b.nodeID, metadata.UUID(b.directoryID), []metadata.VoterEndpoint{
		{Name: "CONTROLLER", Host: b.advertisedHost, Port: kafkaControllerPort},
	})
}

// foldMetadata replays the newest snapshot and the log behind it, and returns
// the last epoch in the log.
func (b *Broker) foldMetadata(dir string) (epoch int32, err error) {
	entries, err := b.kernel.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	var segments, snapshots []string
	for _, e := range entries {
		switch {
		case strings.HasSuffix(e.Name, ".log"):
			segments = append(segments, e.Name)
		case strings.HasSuffix(e.Name, ".checkpoint"):
			snapshots = append(snapshots, e.Name)
		}
	}
	sort.Strings(segments)
	sort.Strings(snapshots)
	from := int64(0)
	if n := len(snapshots); n > 0 {
		if from, err = b.foldSnapshot(dir, snapshots[n-1]); err != nil {
			return 0, err
		}
	}
	for _, name := range segments {
		bytes, err := readFile(b.kernel, dir+"/"+name)
		if err != nil {
			return 0, err
		}
		next := from
		for _, s := range b.shards {
			var last int32
			if _, next, last, err = s.image.Replay(bytes, from); err != nil {
				return 0, fmt.Errorf("metadata log %s: %w", name, err)
			}
			epoch = max(epoch, last)
			s.metadataOffset = next - 1
		}
		from = max(from, next)
	}
	return epoch, nil
}

// foldSnapshot replays a snapshot and returns the offset of the log that follows.
func (b *Broker) foldSnapshot(dir, name string) (from int64, err error) {
	bytes, err := readFile(b.kernel, dir+"/"+name)
	if err != nil {
		return 0, err
	}
	if _, err := fmt.Sscanf(name, "%d-", &from); err != nil {
		return 0, fmt.Errorf("metadata snapshot %s: not a snapshot's name", name)
	}
	for _, s := range b.shards {
		if _, err := s.image.ReadSnapshot(bytes); err != nil {
			return 0, fmt.Errorf("metadata snapshot %s: %w", name, err)
		}
	}
	return from, nil
}

// electSelf makes this node the leader of the metadata log in a new epoch, which
// is durable before anything is written in it.
func (b *Broker) electSelf(dir string, logEpoch int32) (int32, error) {
	path := dir + "/quorum-state"
	q := metadata.QuorumState{LeaderID: -1}
	bytes, err := readFile(b.kernel, path)
	if err == nil {
		q, err = metadata.ParseQuorumState(bytes)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	q = metadata.QuorumState{LeaderID: b.nodeID, LeaderEpoch: max(q.LeaderEpoch, logEpoch, 0) + 1, VotedID: -1}
	return q.LeaderEpoch, storage.ReplaceFile(b.kernel, path, q.Append(nil))
}

// readFile reads a whole file.
func readFile(k kernel, path string) ([]byte, error) {
	fd, err := k.Open(path, syscall.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer k.Close(fd)
	size, err := k.Size(fd)
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	_, err = k.ReadAt(fd, b, 0)
	return b, err
}
