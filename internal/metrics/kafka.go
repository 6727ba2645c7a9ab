package metrics

import (
	"bytes"
	"maps"
	"slices"
	"strconv"
	"time"

	"slipstream/internal/broker"
	"slipstream/internal/metadata"
	"slipstream/protocol"
	"slipstream/reactor"
)

// Kafka's metrics, under the names that the JMX exporter gives them with the rules
// that come with it for Kafka: kafka_<domain>_<type>_<name>, lower case, counts of
// meters as _total, percentiles with a label quantile.

const (
	brokerTopic = "kafka.server:type=BrokerTopicMetrics,name="
	requestBean = "kafka.network:type=RequestMetrics,name="
	logBean     = "kafka.log:type=Log,name="
	cleanerBean = "kafka.log:type=LogCleaner,name="
	managerBean = "kafka.log:type=LogCleanerManager,name="
	replicaBean = "kafka.server:type=ReplicaManager,name="
	controlBean = "kafka.controller:type=KafkaController,name="
	socketBean  = "kafka.server:type=socket-server-metrics,listener=*,networkProcessor=*, "
)

func topicFamily(name, mbean, help string) *family {
	return kafkas(counter, "kafka_server_brokertopicmetrics_"+name+"_total", brokerTopic+mbean+", Count",
		help+" Without a topic: all topics, deleted ones included.", "topic")
}

// topicFamilies are BrokerTopicMetrics.
var topicFamilies = []struct {
	family *family
	of     func(c *broker.TopicCounters) uint64
}{
	{topicFamily("messagesin", "MessagesInPerSec", "Records appended."), func(c *broker.TopicCounters) uint64 { return c.MessagesIn }},
	{topicFamily("bytesin", "BytesInPerSec", "Bytes of batches appended."), func(c *broker.TopicCounters) uint64 { return c.BytesIn }},
	{topicFamily("bytesout", "BytesOutPerSec", "Bytes of batches in fetch responses."), func(c *broker.TopicCounters) uint64 { return c.BytesOut }},
	{topicFamily("bytesrejected", "BytesRejectedPerSec", "Bytes of batches larger than the topic takes."), func(c *broker.TopicCounters) uint64 { return c.BytesRejected }},
	{topicFamily("totalproducerequests", "TotalProduceRequestsPerSec", "Produces, each partition of a request counted."), func(c *broker.TopicCounters) uint64 { return c.ProduceRequests }},
	{topicFamily("totalfetchrequests", "TotalFetchRequestsPerSec", "Fetches, each partition of a request counted (once: Kafka counts one that waited twice)."), func(c *broker.TopicCounters) uint64 { return c.FetchRequests }},
	{topicFamily("failedproducerequests", "FailedProduceRequestsPerSec", "Produces that failed, without the errors that Kafka leaves out as a matter of course."), func(c *broker.TopicCounters) uint64 { return c.FailedProduce }},
	{topicFamily("failedfetchrequests", "FailedFetchRequestsPerSec", "Fetches that failed, likewise."), func(c *broker.TopicCounters) uint64 { return c.FailedFetch }},
	{topicFamily("totalsharefetchrequests", "TotalShareFetchRequestsPerSec", "ShareFetches, each topic of a request counted."), func(c *broker.TopicCounters) uint64 { return c.ShareFetchRequests }},
	{topicFamily("failedsharefetchrequests", "FailedShareFetchRequestsPerSec", "ShareFetches that failed for a partition of the topic, without the errors left out of failed fetches."), func(c *broker.TopicCounters) uint64 { return c.FailedShareFetch }},
	{topicFamily("totalshareacknowledgementrequests", "TotalShareAcknowledgementRequestsPerSec", "Acknowledgements, of ShareFetch too, each topic of a request counted."), func(c *broker.TopicCounters) uint64 { return c.ShareAcknowledgeRequests }},
	{topicFamily("failedshareacknowledgementrequests", "FailedShareAcknowledgementRequestsPerSec", "Acknowledgements of which a partition's were refused."), func(c *broker.TopicCounters) uint64 { return c.FailedShareAcknowledge }},
}

func (c *collector) putKafkaTopics(out *output) {
	v := &c.view
	for _, f := range topicFamilies {
		out.count(f.family, f.of(&v.all), "")
	}
	for _, name := range slices.Sorted(maps.Keys(v.topics)) {
		for _, f := range topicFamilies {
			out.count(f.family, f.of(&v.topics[name].Counters), name)
		}
		for rung := reactor.RungRelay; rung < reactor.RungCount; rung++ {
			out.count(topicSent, v.topics[name].Counters.Sent[rung], name, rung.String())
		}
	}
}

var (
	requestsTotal = kafkas(counter, "kafka_network_requestmetrics_requests_total", requestBean+"RequestsPerSec, Count", "Requests.", "request", "version")
	errorsTotal   = kafkas(counter, "kafka_network_requestmetrics_errors_total", requestBean+"ErrorsPerSec, Count", "Answers for one partition by their error code, NONE included; of Produce and Fetch.", "request", "error")
)

// timeFamily is one of RequestMetrics' times: milliseconds.
type timeFamily struct {
	quantiles, count *family
	of               func(t *reactor.RequestTimes) *reactor.Histogram
}

func stageFamily(name, mbean, help string, of func(t *reactor.RequestTimes) *reactor.Histogram) timeFamily {
	const recent = " Percentiles are of the last one to two minutes."
	return timeFamily{
		kafkas(gauge, "kafka_network_requestmetrics_"+name, requestBean+mbean+", 50thPercentile to 999thPercentile", help+recent, "request", "quantile"),
		kafkas(counter, "kafka_network_requestmetrics_"+name+"_count", requestBean+mbean+", Count", "Requests that "+name+" is of.", "request"),
		of,
	}
}

// stageOf picks a stage's histogram.
func stageOf(s reactor.Stage) func(t *reactor.RequestTimes) *reactor.Histogram {
	return func(t *reactor.RequestTimes) *reactor.Histogram { return &t.Stages[s] }
}

var timeFamilies = []timeFamily{
	stageFamily("requestqueuetimems", "RequestQueueTimeMs", "Stage queue, in ms.", stageOf(reactor.StageQueue)),
	stageFamily("localtimems", "LocalTimeMs", "Stage local, in ms.", stageOf(reactor.StageLocal)),
	stageFamily("remotetimems", "RemoteTimeMs", "Stage remote, in ms.", stageOf(reactor.StageRemote)),
	stageFamily("responsequeuetimems", "ResponseQueueTimeMs", "Stage response_queue, in ms.", stageOf(reactor.StageResponseQueue)),
	stageFamily("responsesendtimems", "ResponseSendTimeMs", "Stage response_send, in ms.", stageOf(reactor.StageResponseSend)),
	stageFamily("totaltimems", "TotalTimeMs", "All stages but receive, which Kafka does not count either, in ms.",
		func(t *reactor.RequestTimes) *reactor.Histogram { return &t.Received }),
}

// quantiles are the percentiles of Kafka's histograms, as the JMX exporter writes them.
var quantiles = []struct {
	label string
	share float64
}{{"0.50", .5}, {"0.75", .75}, {"0.95", .95}, {"0.98", .98}, {"0.99", .99}, {"0.999", .999}}

func (c *collector) putKafkaRequests(out *output) {
	v := &c.view
	for key := range v.requests {
		for version, n := range v.requests[key] {
			if n > 0 {
				for _, name := range kafkaNames(int16(key)) {
					out.count(requestsTotal, n, name, strconv.Itoa(version))
				}
			}
		}
	}
	for i, key := range []int16{protocol.KeyProduce, protocol.KeyFetch} {
		for code, n := range v.errors[i] {
			if n > 0 {
				out.count(errorsTotal, n, requestName(key), protocol.ErrorCode(code-1).String())
			}
		}
	}
	for kind, t := range v.times {
		if t == nil {
			continue
		}
		for _, f := range timeFamilies {
			all := f.of(t)
			recent, count := c.window.recent(kind, all, f.of), all.Count()
			for _, name := range kafkaNames(int16(kind - 1)) {
				for _, q := range quantiles {
					out.put(f.quantiles, quantile(&recent, q.share)/1e6, name, q.label)
				}
				out.count(f.count, count, name)
			}
		}
	}
}

// kafkaNames are the request labels that Kafka counts a key under: a consumer's
// fetch has two.
func kafkaNames(key int16) []string {
	if key == protocol.KeyFetch {
		return []string{"Fetch", "FetchConsumer"}
	}
	return []string{requestName(key)}
}

var (
	logSize     = kafkas(gauge, "kafka_log_log_size", logBean+"Size", "Bytes of the log.", "topic", "partition")
	logEnd      = kafkas(gauge, "kafka_log_log_logendoffset", logBean+"LogEndOffset", "The next offset.", "topic", "partition")
	logStart    = kafkas(gauge, "kafka_log_log_logstartoffset", logBean+"LogStartOffset", "The first offset.", "topic", "partition")
	logSegments = kafkas(gauge, "kafka_log_log_numlogsegments", logBean+"NumLogSegments", "Segments of the log.", "topic", "partition")

	flushCount = kafkas(counter, "kafka_log_logflushstats_logflushrateandtimems_count", "kafka.log:type=LogFlushStats,name=LogFlushRateAndTimeMs, Count", "fdatasyncs of logs.")
	offlineDir = kafkas(gauge, "kafka_log_logmanager_offlinelogdirectorycount", "kafka.log:type=LogManager,name=OfflineLogDirectoryCount", "Data directories that are out of service.")

	recopyPercent    = kafkas(gauge, "kafka_log_logcleaner_cleaner_recopy_percent", cleanerBean+"cleaner-recopy-percent", "Bytes written by the last compaction, of those read.")
	maxBufferPercent = kafkas(gauge, "kafka_log_logcleaner_max_buffer_utilization_percent", cleanerBean+"max-buffer-utilization-percent", "How full the last compaction's map of keys was.")
	maxCleanSeconds  = kafkas(gauge, "kafka_log_logcleaner_max_clean_time_secs", cleanerBean+"max-clean-time-secs", "How long the last compaction took.")
	maxDelaySeconds  = kafkas(gauge, "kafka_log_logcleaner_max_compaction_delay_secs", cleanerBean+"max-compaction-delay-secs", "How long dirty records had outstayed max.compaction.lag.ms when logs were last looked at.")
	deadCleaners     = kafkas(gauge, "kafka_log_logcleaner_deadthreadcount", cleanerBean+"DeadThreadCount", "0: a cleaner is no thread.")
	maxDirtyPercent  = kafkas(gauge, "kafka_log_logcleanermanager_max_dirty_percent", managerBean+"max-dirty-percent", "The dirty part of the filthiest log, when logs were last looked at.")
	sinceLastRun     = kafkas(gauge, "kafka_log_logcleanermanager_time_since_last_run_ms", managerBean+"time-since-last-run-ms", "Since logs were last looked at.")
	uncleanableCount = kafkas(gauge, "kafka_log_logcleanermanager_uncleanable_partitions_count", managerBean+"uncleanable-partitions-count,logDirectory=*", "Logs whose compaction has failed, and is not tried again.")
	uncleanableBytes = kafkas(gauge, "kafka_log_logcleanermanager_uncleanable_bytes", managerBean+"uncleanable-bytes,logDirectory=*", "Bytes of those logs.")

	partitionCount = kafkas(gauge, "kafka_server_replicamanager_partitioncount", replicaBean+"PartitionCount", "Partitions of this broker.")
	leaderCount    = kafkas(gauge, "kafka_server_replicamanager_leadercount", replicaBean+"LeaderCount", "Partitions that it leads: all but those whose data directory is out of service.")
	offlineCount   = kafkas(gauge, "kafka_server_replicamanager_offlinereplicacount", replicaBean+"OfflineReplicaCount", "Partitions whose log takes no more appends, because an fsync failed, or whose data directory is out of service or not here.")
	underReplicas  = kafkas(gauge, "kafka_server_replicamanager_underreplicatedpartitions", replicaBean+"UnderReplicatedPartitions", "0: a partition has one replica, its leader.")
	underMinISR    = kafkas(gauge, "kafka_server_replicamanager_underminisrpartitioncount", replicaBean+"UnderMinIsrPartitionCount", "0: min.insync.replicas is taken to be no more than the replicas there are, as in Kafka.")
	atMinISR       = kafkas(gauge, "kafka_server_replicamanager_atminisrpartitioncount", replicaBean+"AtMinIsrPartitionCount", "Partitions with as many in-sync replicas as they need and no more: all of them.")
	reassigning    = kafkas(gauge, "kafka_server_replicamanager_reassigningpartitions", replicaBean+"ReassigningPartitions", "0: there is no other broker to move a partition to.")
	isrShrinks     = kafkas(counter, "kafka_server_replicamanager_isrshrinks_total", replicaBean+"IsrShrinksPerSec, Count", "0, as there are no followers.")
	isrExpands     = kafkas(counter, "kafka_server_replicamanager_isrexpands_total", replicaBean+"IsrExpandsPerSec, Count", "0, as there are no followers.")
)

func (c *collector) putKafkaLogs(out *output) {
	partitions, failed, syncs, uncleanable, size := 0, 0, uint64(0), 0, int64(0)
	for _, p := range c.view.partitions {
		partition := strconv.Itoa(int(p.ID.Partition))
		labels := out.label(logSize, p.ID.Topic, partition)
		out.add(logSize, float64(p.Bytes), labels)
		out.add(logEnd, float64(p.Offsets.LogEnd), labels)
		out.add(logStart, float64(p.Offsets.LogStart), labels)
		out.add(logSegments, float64(p.Segments), labels)
		if p.Uncleanable {
			uncleanable++
			size += p.Bytes
		}
		if p.ID.Topic != metadata.MetadataTopic {
			partitions++
			if p.Failed {
				failed++
			}
		}
	}
	offlineDirs, outOfService := 0, 0
	for _, s := range c.view.cores {
		if s != nil {
			syncs += s.Storage.Syncs
			offlineDirs = max(offlineDirs, s.OfflineDirs)
			outOfService += s.OutOfService
		}
	}
	out.count(flushCount, syncs)
	out.put(offlineDir, float64(offlineDirs))
	out.put(uncleanableCount, float64(uncleanable))
	out.put(uncleanableBytes, float64(size))
	c.putKafkaCleaner(out)
	for _, f := range []*family{leaderCount, atMinISR} {
		out.put(f, float64(partitions))
	}
	out.put(partitionCount, float64(partitions+outOfService))
	out.put(offlineCount, float64(failed+outOfService))
	for _, f := range []*family{underReplicas, underMinISR, reassigning, isrShrinks, isrExpands} {
		out.put(f, 0)
	}
}

// putKafkaCleaner shows what core 0 has of compaction.
func (c *collector) putKafkaCleaner(out *output) {
	if len(c.view.cores) == 0 || c.view.cores[0] == nil {
		return
	}
	f := &c.view.cores[0].Cleaner
	out.put(recopyPercent, 100*f.RecopyRatio)
	out.put(maxBufferPercent, 100*f.MaxBufferUtilization)
	out.put(maxCleanSeconds, f.MaxCleanSeconds)
	out.put(maxDelaySeconds, float64(f.MaxDelayMillis)/1000)
	out.put(deadCleaners, 0)
	out.put(maxDirtyPercent, 100*f.MaxDirtyRatio)
	since := int64(0)
	if f.LastLookMillis > 0 {
		since = max(time.Now().UnixMilli()-f.LastLookMillis, 0)
	}
	out.put(sinceLastRun, float64(since))
}

var (
	brokerState = kafkas(gauge, "kafka_server_kafkaserver_brokerstate", "kafka.server:type=KafkaServer,name=BrokerState", "1 starting, 3 running, 6 stopping, 7 its cores have stopped.")
	diskRead    = kafkas(counter, "kafka_server_kafkaserver_linux_disk_read_bytes", "kafka.server:type=KafkaServer,name=linux-disk-read-bytes", "Bytes that the process had read from disks.")
	diskWritten = kafkas(counter, "kafka_server_kafkaserver_linux_disk_write_bytes", "kafka.server:type=KafkaServer,name=linux-disk-write-bytes", "Bytes that the process had written to disks.")

	sessionCount   = kafkas(gauge, "kafka_server_fetchsessioncache_numincrementalfetchsessions", "kafka.server:type=FetchSessionCache,name=NumIncrementalFetchSessions", "Fetch sessions.")
	sessionParts   = kafkas(gauge, "kafka_server_fetchsessioncache_numincrementalfetchpartitionscached", "kafka.server:type=FetchSessionCache,name=NumIncrementalFetchPartitionsCached", "Partitions of fetch sessions, as they began.")
	sessionEvicted = kafkas(counter, "kafka_server_fetchsessioncache_incrementalfetchsessionevictions_total", "kafka.server:type=FetchSessionCache,name=IncrementalFetchSessionEvictionsPerSec,cacheShard=*, Count", "Fetch sessions that had to make room for others.", "cacheShard")
	purgatory      = kafkas(gauge, "kafka_server_delayedoperationpurgatory_purgatorysize", "kafka.server:type=DelayedOperationPurgatory,name=PurgatorySize,delayedOperation=Fetch", "Fetches that wait for data.", "delayedOperation")
	idlePercent    = kafkas(gauge, "kafka_network_socketserver_networkprocessoravgidlepercent", "kafka.network:type=SocketServer,name=NetworkProcessorAvgIdlePercent", "The share of their time, 0 to 1, that the cores had nothing to do, over the last one to two minutes.")

	connectionCount = kafkas(gauge, "kafka_server_socket_server_metrics_connection_count", socketBean+"connection-count", "Open connections.", "listener", "networkProcessor")
	connectionsMade = kafkas(counter, "kafka_server_socket_server_metrics_connection_creation_total", socketBean+"connection-creation-total", "Connections accepted.", "listener", "networkProcessor")
	connectionsGone = kafkas(counter, "kafka_server_socket_server_metrics_connection_close_total", socketBean+"connection-close-total", "Connections closed.", "listener", "networkProcessor")
	expired         = kafkas(counter, "kafka_server_socket_server_metrics_expired_connections_killed_count", socketBean+"expired-connections-killed-count", "0: connections do not expire before there is authentication.", "listener", "networkProcessor")
	incomingBytes   = kafkas(counter, "kafka_server_socket_server_metrics_incoming_byte_total", socketBean+"incoming-byte-total", "Bytes received.", "listener", "networkProcessor")
	outgoingBytes   = kafkas(counter, "kafka_server_socket_server_metrics_outgoing_byte_total", socketBean+"outgoing-byte-total", "Bytes sent.", "listener", "networkProcessor")
	requestTotal    = kafkas(counter, "kafka_server_socket_server_metrics_request_total", socketBean+"request-total", "Requests.", "listener", "networkProcessor")
	responseTotal   = kafkas(counter, "kafka_server_socket_server_metrics_response_total", socketBean+"response-total", "Responses.", "listener", "networkProcessor")
)

// listenerName is the one listener's.
const listenerName = "PLAINTEXT"

func (c *collector) putKafkaServer(out *output) {
	out.put(brokerState, float64(c.broker.State()))
	if read, written, ok := diskBytes(); ok {
		out.count(diskRead, read)
		out.count(diskWritten, written)
	}
	sessions, partitions, parked := 0, 0, 0
	for i, s := range c.view.cores {
		if s == nil {
			continue
		}
		core, n := strconv.Itoa(i), &s.Counters
		sessions, partitions, parked = sessions+s.FetchSessions, partitions+s.FetchPartitions, parked+s.ParkedFetches
		out.count(sessionEvicted, s.FetchSessionsEvicted, core)
		out.put(connectionCount, float64(n.ConnectionsOpen), listenerName, core)
		out.count(connectionsMade, n.ConnectionsOpened, listenerName, core)
		out.count(connectionsGone, n.ConnectionsOpened-uint64(n.ConnectionsOpen), listenerName, core)
		out.count(expired, 0, listenerName, core)
		out.count(incomingBytes, n.BytesReceived, listenerName, core)
		out.count(outgoingBytes, n.BytesSent, listenerName, core)
		out.count(requestTotal, n.Requests, listenerName, core)
		out.count(responseTotal, n.Responses, listenerName, core)
	}
	out.put(sessionCount, float64(sessions))
	out.put(sessionParts, float64(partitions))
	out.put(purgatory, float64(parked), "Fetch")
	out.put(idlePercent, c.idleShare())
}

// idleShare is the share of the window that the cores had nothing to do.
func (c *collector) idleShare() float64 {
	w, since, idle, had := &c.window, c.begun, uint64(0), uint64(0)
	for _, n := range c.view.idle {
		idle += n
	}
	if w.older != nil {
		since = w.older.at
		for _, n := range w.older.idle {
			had += n
		}
	}
	elapsed := time.Since(since) * time.Duration(max(len(c.view.idle), 1))
	return min(float64(idle-min(had, idle))/float64(max(elapsed, 1)), 1)
}

var (
	activeController = kafkas(gauge, "kafka_controller_kafkacontroller_activecontrollercount", controlBean+"ActiveControllerCount", "1: a node is its own controller.")
	activeBrokers    = kafkas(gauge, "kafka_controller_kafkacontroller_activebrokercount", controlBean+"ActiveBrokerCount", "1 while the broker serves, else 0.")
	fencedBrokers    = kafkas(gauge, "kafka_controller_kafkacontroller_fencedbrokercount", controlBean+"FencedBrokerCount", "1 while the broker starts or stops, else 0.")
	topicCount       = kafkas(gauge, "kafka_controller_kafkacontroller_globaltopiccount", controlBean+"GlobalTopicCount", "Topics.")
	globalPartitions = kafkas(gauge, "kafka_controller_kafkacontroller_globalpartitioncount", controlBean+"GlobalPartitionCount", "Partitions of all topics.")
	offlineParts     = kafkas(gauge, "kafka_controller_kafkacontroller_offlinepartitionscount", controlBean+"OfflinePartitionsCount", "Partitions without a leader: 0, as this broker leads all of them.")
	imbalance        = kafkas(gauge, "kafka_controller_kafkacontroller_preferredreplicaimbalancecount", controlBean+"PreferredReplicaImbalanceCount", "0: a partition's one replica is the preferred one.")
	lastApplied      = kafkas(gauge, "kafka_controller_kafkacontroller_lastappliedrecordoffset", controlBean+"LastAppliedRecordOffset", "The last record of the metadata log that the controller has taken in.")
	brokerApplied    = kafkas(gauge, "kafka_server_broker_metadata_metrics_last_applied_record_offset", "kafka.server:type=broker-metadata-metrics, last-applied-record-offset", "The last record of the metadata log that all cores have taken in.")
	raftEnd          = kafkas(gauge, "kafka_server_raft_metrics_log_end_offset", "kafka.server:type=raft-metrics, log-end-offset", "The next offset of the metadata log.")
	raftWatermark    = kafkas(gauge, "kafka_server_raft_metrics_high_watermark", "kafka.server:type=raft-metrics, high-watermark", "The metadata log's high watermark.")
	raftLeader       = kafkas(gauge, "kafka_server_raft_metrics_current_leader", "kafka.server:type=raft-metrics, current-leader", "The id of the metadata log's leader: this node.")
	raftEpoch        = kafkas(gauge, "kafka_server_raft_metrics_current_epoch", "kafka.server:type=raft-metrics, current-epoch", "The metadata log's epoch, one more with each start.")
)

func (c *collector) putKafkaController(out *output) {
	partitions := 0
	for _, t := range c.view.topics {
		partitions += t.Partitions
	}
	running := 0.0
	if c.broker.State() == broker.StateRunning {
		running = 1
	}
	out.put(activeController, 1)
	out.put(activeBrokers, running)
	out.put(fencedBrokers, 1-running)
	out.put(topicCount, float64(len(c.view.topics)))
	out.put(globalPartitions, float64(partitions))
	out.put(offlineParts, 0)
	out.put(imbalance, 0)
	first, applied := true, int64(0)
	for _, s := range c.view.cores {
		if s != nil && (first || s.MetadataOffset < applied) {
			first, applied = false, s.MetadataOffset
		}
	}
	if s := c.view.cores[0]; s != nil {
		out.put(lastApplied, float64(s.MetadataOffset))
	}
	if !first {
		out.put(brokerApplied, float64(applied))
	}
	for _, p := range c.view.partitions {
		if p.ID.Topic == metadata.MetadataTopic {
			out.put(raftEnd, float64(p.Offsets.LogEnd))
			out.put(raftWatermark, float64(p.Offsets.HighWatermark))
		}
	}
	out.put(raftLeader, float64(c.build.node))
	out.put(raftEpoch, float64(c.broker.MetadataEpoch()))
}

// ioField finds a field of /proc/self/io.
func ioField(text []byte, name string) uint64 {
	for line := range bytes.Lines(text) {
		if value, ok := bytes.CutPrefix(line, []byte(name)); ok {
			n, _ := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 64)
			return n
		}
	}
	return 0
}
