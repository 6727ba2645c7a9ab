package metrics

import (
	"reflect"
	"strings"
	"unicode"

	"slipstream/reactor"
	"slipstream/storage"
)

// Counters of the reactor and the store are exported field by field, under names
// made of the fields'. Each field has its help text here; a test fails for one
// that has none.

// fieldFamily is how a field is exported.
type fieldFamily struct {
	family *family
	index  int     // of the field
	scale  float64 // from the field's unit to the metric's
}

// familiesOf declares a family for each numeric field of a struct: what counts is
// unsigned, what is now is not.
func familiesOf(of reflect.Type, prefix string, help map[string]string) (all []fieldFamily) {
	for i := range of.NumField() {
		field := of.Field(i)
		kind, suffix, scale := gauge, "", 1.0
		switch field.Type.Kind() {
		case reflect.Uint64:
			kind, suffix = counter, "_total"
		case reflect.Int, reflect.Int64:
		default:
			continue
		}
		name := snake(field.Name)
		if before, ok := strings.CutSuffix(name, "_nanos"); ok {
			name, scale = before+"_seconds", 1e-9
		}
		text, ok := help[field.Name]
		if !ok {
			text = field.Name + " of " + of.String() + "."
		}
		all = append(all, fieldFamily{own(kind, prefix+name+suffix, text, "core"), i, scale})
	}
	return all
}

// snake is a field's name in lower case with underscores.
func snake(field string) string {
	var b strings.Builder
	for i, r := range field {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// putFields gives the fields of a struct.
func (o *output) putFields(all []fieldFamily, of reflect.Value, core string) {
	for _, f := range all {
		v := of.Field(f.index)
		if v.CanUint() {
			o.put(f.family, float64(v.Uint())*f.scale, core)
		} else {
			o.put(f.family, float64(v.Int())*f.scale, core)
		}
	}
}

var (
	counterFields = familiesOf(reflect.TypeFor[reactor.Counters](), "slipstream_core_", counterHelp)
	gaugeFields   = familiesOf(reflect.TypeFor[reactor.Gauges](), "slipstream_core_", gaugeHelp)
	storeFields   = familiesOf(reflect.TypeFor[storage.StoreStats](), "slipstream_store_", storeHelp)
)

var counterHelp = map[string]string{
	"Turns":              "Times round the loop.",
	"Enters":             "Calls of io_uring_enter that turns ended with. Submissions by enters is what batching saves.",
	"Parks":              "Enters that were allowed to wait.",
	"ParkedNanos":        "Time in enters that were allowed to wait: the core had nothing to do and used no processor.",
	"SpunNanos":          "Time in turns that found nothing to do: the core had nothing to do and used a processor.",
	"Submissions":        "Submission entries filled.",
	"Completions":        "Completions handled.",
	"StaleCompletions":   "Completions that came when nobody waited for them.",
	"OpSlotsExhausted":   "Ring requests refused because too many were in flight.",
	"ConnectionsOpen":    "Open connections.",
	"ConnectionsOpened":  "Connections accepted and served.",
	"ConnectionsRefused": "Connections closed before they were served: over a limit of their address, over the most that a core has, or while stopping.",
	"ConnectionsMuted":   "Connections that are not listened to for now, because their clients have used more than a quota allows.",
	"Mutes":              "Times that one was muted so.",
	"ConnectionsIdle":    "Connections closed after connections.max.idle.ms.",
	"ConnectionsStarved": "Connections closed because they held memory for an unfinished request while others waited for memory.",
	"ConnectionsReset":   "Connections ended by the peer or the network.",
	"AcceptErrors":       "Accepts that failed.",
	"AcceptPauses":       "Pauses in accepting for want of descriptors or memory.",
	"Requests":           "Requests received whole and handled.",
	"Responses":          "Requests that were answered.",
	"Silent":             "Requests that have no answer (acks=0).",
	"ResponsesDropped":   "Answers that did not leave: their connection closed.",
	"RequestsOpen":       "Requests being handled.",
	"BytesReceived":      "Bytes received from clients.",
	"BytesSent":          "Bytes sent to clients, those of files included.",
	"RelaysMissed":       "Pieces that a socket did not take at once: they left from their file.",
	"FileBytesSent":      "Bytes of log files sent to clients without a copy.",
	"ColdBytes":          "Bytes read from the disk for fetches, or ahead of them, by the cold lane.",
	"ResidencyChecks":    "Questions to the kernel what of a file is in the page cache.",
	"HotTurnedCold":      "Stretches of log files of which a part was in the page cache and the rest not.",
	"ColdSteps":          "Reads, of up to a mebibyte each, that the cold lane has finished.",
	"ColdStepsShared":    "Of these, times that another consumer was sent from one too.",
	"ColdStepsWasted":    "Of these, those that no consumer was sent from: they were read ahead for nothing.",
	"ColdWaits":          "Times that a fetch waited for a read of the cold lane.",
	"ColdDropped":        "Bytes that reads of the cold lane had left in the page cache and that were dropped behind them.",
	"FileReadErrors":     "Stretches of files that sendfile or splice could not read; the connections that they were for were closed.",
	"ColdReadErrors":     "Reads of the cold lane that failed; the connections that waited for them were closed.",
	"ColdReading":        "Reads of the cold lane in flight.",
	"ColdHeldBytes":      "Memory of the cold lane.",
	"BulkPipes":          "Pipes of the bulk rung.",
	"BulkPipesClosed":    "Pipes of the bulk rung that were closed because they might hold bytes.",
	"BulkStolen":         "Of these, those taken from a connection whose socket stayed full.",
	"TailMisses":         "Stretches near the end of a log that were not in the page cache when they were to be sent.",
	"BytesCopied":        "Received bytes that had to be moved to make a request contiguous.",
	"Receives":           "Receives that brought bytes.",
	"Sends":              "Sends made by the ring.",
	"SendsNow":           "Sends made by the core itself.",
	"SendsBlocked":       "Of these, those that found the socket full: the client reads too slowly.",
	"FramesNegative":     "Connections closed for a request of negative length.",
	"FramesTooLarge":     "Connections closed for a request over socket.request.max.bytes.",
	"FramesCutShort":     "Connections that ended inside a request.",
	"FilesCutShort":      "Connections closed because a log file ended before what was to be sent of it.",
	"WentDirect":         "Connections that began to receive into blocks of their own.",
	"WentQuiet":          "Connections that went back to the shared buffers.",
	"BuffersExhausted":   "Receives that found no shared buffer.",
	"FramesCopiedOut":    "Small requests copied so that a shared buffer could be let go.",
	"DispatchPaused":     "Back-pressure: times that a connection reached its bound of requests or bytes.",
	"ReceivePaused":      "Back-pressure: times that a connection stopped receiving.",
	"ReceiveNoMemory":    "Back-pressure: times that a connection waited for memory to receive into.",
	"AllocationsRefused": "Back-pressure: allocations over slipstream.core.memory.bytes.",
	"MapFailures":        "Memory mappings that the kernel refused.",
	"MessagesSent":       "Messages to other cores.",
	"MessagesReceived":   "Messages from other cores.",
	"MessagesInjected":   "Messages from outside the cores.",
	"MessagesSpilled":    "Messages that found the other core's mailbox full.",
	"MessagesDropped":    "Messages to a core that had stopped.",
	"MessageRings":       "Times that another core was woken.",
	"RingFailures":       "Times that waking another core through the ring failed.",
	"JobsOffloaded":      "Jobs given to helpers.",
	"JobsSpilled":        "Jobs that found the helpers' queue full.",
	"UnexpectedErrors":   "Errors that no other counter names. The log names them.",
}

var gaugeHelp = map[string]string{
	"ArenaBytes":      "Memory for requests and responses in use, without the shared receive buffers.",
	"ArenaMapped":     "Memory for requests and responses mapped, in bytes.",
	"ArenaLimit":      "slipstream.core.memory.bytes.",
	"ArenaPeak":       "The most of it that was in use at once, in bytes.",
	"BuffersProvided": "Receive buffers that quiet connections share.",
	"BuffersAtHome":   "Of these, free ones.",
	"ArrivalsWaiting": "Accepted connections that wait to be let in.",
	"OpsInFlight":     "Requests that the ring has not completed.",
	"MailWaiting":     "Messages from other cores not yet delivered.",
	"MailSpilled":     "Messages to other cores that found no room yet.",
	"JobsOpen":        "Jobs given to helpers and not yet back.",
	"JobsWaiting":     "Of these, those that wait for room in the helpers' queue.",
}

var storeHelp = map[string]string{
	"InlineWrites":    "Writes of batches made by the core itself.",
	"RingWrites":      "Writes of batches made by the ring.",
	"FailedWrites":    "Writes of batches that failed; their producers were told.",
	"Syncs":           "fdatasyncs of logs.",
	"FailedSyncs":     "Those that failed: each ends a log's writing until a restart.",
	"Rolls":           "Segments begun.",
	"Preallocations":  "Times that disk blocks were reserved ahead of the writer.",
	"Lookups":         "Plans that a helper had to make, because they needed the disk.",
	"AbortedLookups":  "Reads of .txnindex files.",
	"DeletedSegments": "Segments taken out of their logs: below the log's start, or replaced by a cleaned one.",
	"DeletedBytes":    "Bytes of those segments' logs.",

	"Examined":            "Closed segments that were looked at for the first time since the start.",
	"IndexesRebuilt":      "Closed segments whose indexes were made anew.",
	"Cleanings":           "Logs compacted.",
	"FailedCleanings":     "Those that failed.",
	"CleanedSegments":     "Segments replaced by compacted ones.",
	"CleanerReadBytes":    "Bytes read by compaction, for the map of keys and to copy.",
	"CleanerWrittenBytes": "Bytes written by compaction.",
	"CleanerReadRecords":  "Records of segments that were compacted.",
	"CleanerKeptRecords":  "Those of them that were kept.",
	"BadIndexEntries":     "Index entries that did not fit the log.",
	"DirtyBytes":          "Bytes written and neither written behind nor synced.",
	"WritebackBytes":      "Bytes given to the disk ahead of any fsync.",
	"WritebackSteps":      "Requests that did so.",
	"WritebackNanos":      "Time that such requests were in flight.",
	"WritebackFailures":   "Those that failed.",
}
