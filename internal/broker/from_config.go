package broker

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"slipstream/internal/config"
	"slipstream/reactor"
	"slipstream/ring"
	"slipstream/storage"
)

// SettingsFrom turns a loaded configuration into what a broker runs with.
// dataDir and listen, where not empty, win over log.dirs and listeners.
// descriptors is the limit of open files of the process.
func SettingsFrom(c *config.Config, dataDir, listen string, descriptors uint64) (Settings, error) {
	s := Settings{
		DataDir: dataDir, NodeID: int32(nodeID(c)),
		Backlog: int(c.Int("socket.listen.backlog.size")), Cores: c.Cores(),
		SpinNanos: c.Int("slipstream.wait.spin.micros") * 1000, Pin: c.Bool("slipstream.cpu.pin"),
		AutoCreateTopics: c.Bool("auto.create.topics.enable"),
		NumPartitions:    int32(c.Int("num.partitions")), ReplicationFactor: int16(c.Int("default.replication.factor")),
		FetchMaxBytes: int32(c.Int("fetch.max.bytes")), FetchSessionSlots: int(c.Int("max.incremental.fetch.session.cache.slots")),
		CheckpointMillis: c.Int("log.flush.offset.checkpoint.interval.ms"), DrainMillis: c.Int("slipstream.drain.ms"),
		RecoveryThreads: int(c.Int("num.recovery.threads.per.data.dir")), MaxOpenFiles: int(c.Int("slipstream.open.files.max")),
		Topics: kafkaSettings{static: c},
	}
	if s.DataDir == "" {
		s.DataDir = firstOf(c.Get("log.dirs"), c.Get("log.dir"))
	}
	if s.MaxOpenFiles == 0 {
		s.MaxOpenFiles = int(min(max(descriptors/4, 64), 1<<20))
	}
	if dirs := config.SplitList(s.DataDir); len(dirs) != 1 {
		return s, fmt.Errorf("log.dirs=%s: one data directory is served, %d are named", s.DataDir, len(dirs))
	}
	var err error
	if s.Level, err = ring.ParseLevel(c.Get("slipstream.ring.level")); err != nil {
		return s, err
	}
	if s.Wait, err = reactor.ParseWait(c.Get("slipstream.wait.policy")); err != nil {
		return s, err
	}
	switch c.Get("slipstream.writer") {
	case "ring":
		s.Writer = storage.WriterRing
	case "inline":
		s.Writer = storage.WriterInline
	}
	if s.Listen, err = listenAddress(c, listen); err != nil {
		return s, err
	}
	if err := s.advertise(c); err != nil {
		return s, err
	}
	s.Limits = reactor.Limits{
		MaxFrameBytes: int(c.Int("socket.request.max.bytes")), ArenaBytes: int(c.Int("slipstream.core.memory.bytes")),
		IdleNanos: c.Int("connections.max.idle.ms") * 1e6,
	}
	if n := c.Int("max.connections"); n < 1<<31-1 {
		s.Limits.MaxConnections = max(int(n)/s.Cores, 1)
	}
	return s, nil
}

func nodeID(c *config.Config) int64 {
	for _, name := range []string{"node.id", "broker.id"} {
		if v, ok := c.Static(name); ok {
			n, _ := strconv.ParseInt(v, 10, 32)
			return n
		}
	}
	return 1
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// listenAddress is --listen, or the first PLAINTEXT listener that is not a
// controller's.
func listenAddress(c *config.Config, listen string) (netip.AddrPort, error) {
	if listen != "" {
		return resolveAddress(listen)
	}
	for _, l := range config.SplitList(c.Get("listeners")) {
		name, address, ok := strings.Cut(l, "://")
		if !ok {
			return netip.AddrPort{}, fmt.Errorf("listeners=%s: want NAME://host:port", l)
		}
		if contains(config.SplitList(c.Get("controller.listener.names")), name) {
			continue
		}
		if protocolOf(c, name) != "PLAINTEXT" {
			return netip.AddrPort{}, fmt.Errorf("listeners=%s: only PLAINTEXT listeners are served", l)
		}
		return resolveAddress(address)
	}
	return netip.AddrPort{}, fmt.Errorf("listeners=%s names no listener for clients", c.Get("listeners"))
}

// protocolOf is the security protocol of a listener's name.
func protocolOf(c *config.Config, name string) string {
	for _, pair := range config.SplitList(c.Get("listener.security.protocol.map")) {
		if n, p, ok := strings.Cut(pair, ":"); ok && n == name {
			return p
		}
	}
	return name
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}

// resolveAddress reads host:port; an empty host is every IPv4 address.
func resolveAddress(s string) (netip.AddrPort, error) {
	host, port, ok := cutLast(s, ":")
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("address %q: want host:port", s)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("address %q: %q is not a port", s, port)
	}
	switch host {
	case "", "0.0.0.0":
		return netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(n)), nil
	case "localhost":
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(n)), nil
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("address %q: %q is not an IP address of this machine", s, host)
	}
	return netip.AddrPortFrom(addr, uint16(n)), nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// advertise takes advertised.listeners, if it names a listener for clients.
func (s *Settings) advertise(c *config.Config) error {
	for _, l := range config.SplitList(c.Get("advertised.listeners")) {
		name, address, ok := strings.Cut(l, "://")
		if !ok || contains(config.SplitList(c.Get("controller.listener.names")), name) {
			continue
		}
		host, port, ok := cutLast(address, ":")
		n, err := strconv.ParseUint(port, 10, 16)
		if !ok || err != nil || host == "" {
			return fmt.Errorf("advertised.listeners=%s: want NAME://host:port", l)
		}
		s.AdvertisedHost, s.AdvertisedPort = host, int32(n)
		return nil
	}
	return nil
}
