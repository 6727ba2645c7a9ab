package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"slipstream/reactor"
	"slipstream/storage"
)

// Opening a data directory is blocking work, done before any core turns:
//
//	every directory: meta.properties, .lock -> metadata log -> image -> partitions -> shards
//
// Nothing is written to any directory when one turns out to be somebody else's.

// Report is what start-up found, for the screen.
type Report struct {
	Addresses  []string
	NodeID     int32
	ClusterID  string
	DataDirs   []string // log.dirs
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

// New opens the data directory and makes the broker's cores, which do not turn
// yet. helpers run the cores' blocking work. On an error nothing is left open.
func New(s Settings, k kernel, helpers reactor.Helpers, log *slog.Logger) (*Broker, error) {
	b := &Broker{
		log: log, settings: s, kernel: k,
		nodeID:     s.NodeID,
		autoCreate: s.AutoCreateTopics, fetchMaxBytes: s.FetchMaxBytes, fetchSessionSlots: s.FetchSessionSlots / max(s.Cores, 1),
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
	if err := b.takeDirectories(); err != nil {
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
	if b.metaDir == nil {
		return
	}
	for _, d := range b.everyDir() {
		if d.lock >= 0 {
			b.kernel.Close(d.lock)
			d.lock = -1
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
		s := newShard(b)
		for _, d := range b.dirs {
			s.offline[d.index] = d.failed != nil
		}
		b.shards = append(b.shards, s)
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

// chooseWriter measures how appends reach the page cache fastest on each
// directory's file system, unless a setting says how, and makes each core's store.
func (b *Broker) chooseWriter() error {
	var told []string
	var directories []storage.Directory
	for _, d := range b.everyDir() {
		if d.failed != nil {
			continue
		}
		text, err := b.chooseWriterOf(d)
		if err != nil {
			if err = b.without(d, unwritable(d.path, err)); err != nil {
				return err
			}
			continue
		}
		told = append(told, text)
		directories = append(directories, storage.Directory{
			Path: d.path, Writer: d.writer.Writer, ZerosAhead: b.settings.ZerosAhead && b.hasJournal(d),
		})
	}
	if len(b.dirs) > 1 {
		for i := range told {
			told[i] = directories[i].Path + ": " + told[i]
		}
	}
	b.report.Writer, b.report.WriterName = strings.Join(told, "; "), b.metaDir.writer.Writer.String()
	for _, s := range b.shards {
		s.store = storage.NewStore(s.core, storage.StoreOptions{
			Writer: b.metaDir.writer.Writer, MaxFiles: max(b.settings.MaxOpenFiles/len(b.shards), 16),
			WritebackMillis: b.settings.WritebackMillis, TailBytes: b.settings.WarmBytes, Directories: directories,
			RetentionCheckMillis: b.settings.RetentionCheckMillis,
			Note:                 func(message string) { b.log.Error("storage", "note", message) },
			Suspect:              s.suspect,
		})
	}
	b.shards[controllerCore].store.Adopt(b.shards[controllerCore].controller.log)
	return nil
}

// chooseWriterOf is chooseWriter for one directory; the text says why.
func (b *Broker) chooseWriterOf(d *logDir) (string, error) {
	if b.settings.Writer != storage.WriterAuto {
		d.writer.Writer = b.settings.Writer
		return d.writer.Writer.String() + " (forced)", nil
	}
	var err error
	d.writer, err = storage.ProbeWriter(b.kernel, d.path)
	if storage.Full(err) {
		return d.writer.Writer.String() + " (the disk is full: not measured)", nil
	}
	return fmt.Sprintf("%s (%s: a 16 KiB append takes %.1f us inline, %.1f us by the ring)",
		d.writer.Writer, d.writer.FileSystem, float64(d.writer.InlineNanos)/1e3, float64(d.writer.RingNanos)/1e3), err
}

// hasJournal says whether a directory's file system commits a journal for
// a file that grows, and writes in place into one that does not.
func (b *Broker) hasJournal(d *logDir) bool {
	name, err := b.kernel.FileSystem(d.path)
	return err == nil && (name == "ext4" || name == "xfs" || name == "sim")
}
