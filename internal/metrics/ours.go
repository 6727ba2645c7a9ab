package metrics

import (
	"maps"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"time"

	"slipstream/internal/broker"
	"slipstream/internal/vmstat"
	"slipstream/protocol"
	"slipstream/reactor"

	"golang.org/x/sys/unix"
)

var (
	buildMetric   = own(gauge, "slipstream_build_info", "1; what runs: version, Go, the kernel's release, the ring level in force, the log writer, the broker's id and cluster.", "version", "go", "kernel", "level", "writer", "node", "cluster")
	scrapeSeconds = own(gauge, "slipstream_scrape_seconds", "How long it took to collect this scrape's figures.")

	coreUp        = own(gauge, "slipstream_core_up", "1 if the core told its figures for this scrape; 0: it has stopped or does not answer, and its other figures are those of its last answer.", "core")
	coreAge       = own(gauge, "slipstream_core_age_seconds", "How old the core's figures are.", "core")
	coreSlices    = own(gauge, "slipstream_core_scrape_slices", "Turns over which the core spread its answer.", "core")
	coreSlice     = own(gauge, "slipstream_core_scrape_longest_slice_seconds", "The longest that this scrape held the core at a time.", "core")
	coreTurns     = own(histogram, "slipstream_core_turn_seconds", "How long turns with something to do took, without waiting. What arrives is seen with the next turn.", "core")
	rungStretches = own(counter, "slipstream_core_rung_stretches_total", "Stretches of log files that a rung of the fetch ladder served, in part or whole.", "core", "rung")
	rungBytes     = own(counter, "slipstream_core_rung_bytes_total", "Bytes that a rung of the fetch ladder sent.", "core", "rung")
	topicSent     = own(counter, "slipstream_topic_sent_bytes_total", "Bytes of the topic's log that a rung of the fetch ladder sent.", "topic", "rung")
	openFiles     = own(gauge, "slipstream_store_open_files", "Log and index files open.", "core")
	refusedConns  = optional("once there was one", counter, "slipstream_requests_refused_total", "Requests that could not be answered: their connections were closed.", "reason")
	coldRate      = own(gauge, "slipstream_cold_rate_limit_bytes_per_second", "What the core's cold readers may read, so that tail readers keep their pages; 0: as much as they can.", "core")
	coldSlowed    = own(counter, "slipstream_cold_slowed_total", "Times that the core's cold readers were slowed down for tail readers.", "core")

	telemetryPushes  = own(counter, "slipstream_telemetry_pushes_total", "Pushes of clients' metrics (KIP-714) that were taken. What is in them is not kept.")
	telemetryBytes   = own(counter, "slipstream_telemetry_bytes_total", "Bytes of clients' metrics in them.")
	telemetryRefused = own(counter, "slipstream_telemetry_refused_total", "Pushes of clients' metrics, and questions about them, that were answered with an error.")
	telemetryClients = own(gauge, "slipstream_telemetry_clients", "Client instances that are remembered for their metrics.")

	stageSeconds   = own(histogram, "slipstream_request_stage_seconds", "What requests spent their time on. The stages of a request add up to slipstream_request_seconds.", "request", "stage")
	requestSeconds = own(histogram, "slipstream_request_seconds", "From the first byte of a request to the last byte of its response.", "request")

	helperQueue = own(gauge, "slipstream_helpers_waiting", "Jobs that wait for a helper.")

	dirtyBytes      = own(gauge, "slipstream_vm_dirty_bytes", "The machine's dirty page-cache bytes.")
	writebackBytes  = own(gauge, "slipstream_vm_writeback_bytes", "The machine's page-cache bytes on their way to the disk.")
	dirtyBackground = own(gauge, "slipstream_vm_dirty_background_threshold_bytes", "The effective vm.dirty_background_*: beyond it the kernel's own threads write back.")
	dirtyThrottle   = own(gauge, "slipstream_vm_dirty_throttle_bytes", "From where on the kernel holds those who write: half way between the two thresholds.")
	dirtyLimit      = own(gauge, "slipstream_vm_dirty_threshold_bytes", "The effective vm.dirty_*: writers are held so that it is not passed.")
	dirtyCloseness  = own(gauge, "slipstream_vm_dirty_closeness", "Dirty and written-back bytes by the throttle: at 1 an append may be held.")
	cgroupDirty     = optional("in a version 2 memory cgroup", gauge, "slipstream_cgroup_dirty_bytes", "Dirty page-cache bytes of the broker's memory cgroup.")
	cgroupWriteback = optional("in a version 2 memory cgroup", gauge, "slipstream_cgroup_writeback_bytes", "Page-cache bytes of the cgroup on their way to the disk.")
	cgroupUsed      = optional("in a version 2 memory cgroup", gauge, "slipstream_cgroup_memory_bytes", "Memory of the cgroup in use, page cache included.")
	cgroupLimit     = optional("in a version 2 memory cgroup with a limit", gauge, "slipstream_cgroup_memory_limit_bytes", "The lowest limit of the cgroup's memory.")
)

// buildInfo is what does not change while a broker runs, but for the level.
type buildInfo struct {
	version, kernel, writer, cluster string
	node                             int32
}

func readBuild(o Options, b *broker.Broker) buildInfo {
	r := b.Report()
	info := buildInfo{version: o.Version, writer: r.WriterName, cluster: r.ClusterID, node: r.NodeID}
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		info.kernel = unix.ByteSliceToString(uts.Release[:])
	}
	return info
}

func (c *collector) putBuild(out *output) {
	level := ""
	if s := c.view.cores[0]; s != nil {
		level = s.Level
	}
	b := &c.build
	out.put(buildMetric, 1, b.version, runtime.Version(), b.kernel, level, b.writer, strconv.Itoa(int(b.node)), b.cluster)
}

func (c *collector) putCores(out *output) {
	refused := map[string]uint64{}
	for i := range c.cores.states {
		s, core := &c.cores.states[i], strconv.Itoa(i)
		up := 0.0
		if s.up {
			up = 1
		}
		out.put(coreUp, up, core)
		if s.last == nil {
			continue
		}
		out.put(coreAge, time.Since(s.lastAt).Seconds(), core)
		out.put(coreSlices, float64(s.last.Slices), core)
		out.put(coreSlice, float64(s.last.LongestSliceNanos)/1e9, core)
		out.put(coldRate, float64(s.last.ColdRate), core)
		out.count(coldSlowed, s.last.ColdSlowed, core)
		out.observe(coreTurns, &s.last.TurnTimes, core)
		out.putFields(counterFields, reflect.ValueOf(&s.last.Counters).Elem(), core)
		out.putFields(gaugeFields, reflect.ValueOf(&s.last.Gauges).Elem(), core)
		for rung := reactor.RungRelay; rung < reactor.RungCount; rung++ {
			out.count(rungStretches, s.last.Counters.Rungs[rung].Stretches, core, rung.String())
			out.count(rungBytes, s.last.Counters.Rungs[rung].Bytes, core, rung.String())
		}
		for _, r := range s.last.Refused {
			refused[r.Reason] += r.Count
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(refused)) {
		out.count(refusedConns, refused[reason], reason)
	}
	if c.options.Helpers != nil {
		out.put(helperQueue, float64(c.options.Helpers.Waiting()))
	}
}

func (c *collector) putTelemetry(out *output) {
	var t broker.TelemetryCounters
	for _, s := range c.view.cores {
		if s != nil {
			t.Pushes += s.Telemetry.Pushes
			t.Bytes += s.Telemetry.Bytes
			t.Refused += s.Telemetry.Refused
			t.Clients += s.Telemetry.Clients
		}
	}
	out.count(telemetryPushes, t.Pushes)
	out.count(telemetryBytes, t.Bytes)
	out.count(telemetryRefused, t.Refused)
	out.put(telemetryClients, float64(t.Clients))
}

func (c *collector) putStore(out *output) {
	for i, s := range c.view.cores {
		if s != nil {
			core := strconv.Itoa(i)
			out.putFields(storeFields, reflect.ValueOf(&s.Storage).Elem(), core)
			out.put(openFiles, float64(s.OpenFiles), core)
		}
	}
}

func (c *collector) putTimes(out *output) {
	for kind, t := range c.view.times {
		if t == nil {
			continue
		}
		request := requestName(int16(kind - 1))
		for stage := range t.Stages {
			out.observe(stageSeconds, &t.Stages[stage], request, reactor.Stage(stage).String())
		}
		out.observe(requestSeconds, &t.Total, request)
	}
}

// requestName is Kafka's name of an API key as its metrics have it: ListOffsets.
func requestName(key int16) string {
	var b []byte
	upper := true
	for _, r := range []byte(protocol.APIName(key)) {
		switch {
		case r == '_':
			upper = true
			continue
		case !upper && r >= 'A' && r <= 'Z':
			r += 'a' - 'A'
		}
		upper = false
		b = append(b, r)
	}
	return string(b)
}

// putMemory gives what the kernel says of dirty pages.
func (c *collector) putMemory(out *output) {
	d, err := vmstat.Read()
	if err != nil {
		return
	}
	out.put(dirtyBytes, float64(d.DirtyBytes))
	out.put(writebackBytes, float64(d.WritebackBytes))
	out.put(dirtyBackground, float64(d.BackgroundBytes))
	out.put(dirtyThrottle, float64(d.ThrottleBytes()))
	out.put(dirtyLimit, float64(d.LimitBytes))
	out.put(dirtyCloseness, d.Closeness())
	if g := d.Cgroup; g != nil {
		out.put(cgroupDirty, float64(g.DirtyBytes))
		out.put(cgroupWriteback, float64(g.WritebackBytes))
		out.put(cgroupUsed, float64(g.UsedBytes))
		if g.LimitBytes > 0 {
			out.put(cgroupLimit, float64(g.LimitBytes))
		}
	}
}

// diskBytes is what the process has read from disks and written to them.
func diskBytes() (read, written uint64, ok bool) {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0, 0, false
	}
	return ioField(text, "read_bytes: "), ioField(text, "write_bytes: "), true
}
