package protocol

// What a broker checks of a batch that a client wants appended, in Kafka's order and with Kafka's
// answers (testdata/produce_oracle.json holds what a Kafka 4.3.1 said to each of the test's batches):
//
//  1. CheckProduced: the request's records are one batch of magic 2, its header makes sense, its CRC
//     is right. Reads the bytes once, for the CRC.
//  2. CheckRecords, for an uncompressed batch: passes over the records in place.
//  3. CheckCompressed, for a compressed one: the same over the expanded stream. This costs time and memory of
//     its own, so it runs on a helper.
//  4. Verdict.Settle puts the header's timestamps right.

// Rules are the settings of a topic that bear on what may be appended to it.
type Rules struct {
	Partition                string // topic-index, for messages
	MaxMessageBytes          int32  // max.message.bytes: of a whole batch
	TimestampType            TimestampType
	TimestampBeforeMaxMillis int64
	TimestampAfterMaxMillis  int64
	Compacted                bool // cleanup.policy has compact: every record needs a key
}

// DefaultRules are those of a topic without settings of its own.
func DefaultRules() Rules {
	return Rules{
		MaxMessageBytes:          1<<20 + LogOverhead,
		TimestampBeforeMaxMillis: 1<<63 - 1,
		TimestampAfterMaxMillis:  3600_000,
	}
}

// Verdict is what the records of a batch came to.
type Verdict struct {
	Code ErrorCode
	// MaxTimestamp is the largest timestamp of the records (ms), and MaxTimestampDelta the offset delta of
	// the first record that has it.
	MaxTimestamp      int64
	MaxTimestampDelta int32
	// Errors are the records refused, at most maxRecordErrors of them, and Message is the
	// summary, for the response; both only when Code says that single records were at fault.
	Errors  []RecordError
	Message string
}

// Settle stamps an accepted batch with the timestamp type of its topic and its true max timestamp: now
// for LogAppendTime, that of the records for CreateTime. The CRC is computed anew if that changes anything.
func (v *Verdict) Settle(b Batch, r *Rules, nowMillis int64) {
	if r.TimestampType == LogAppendTime {
		b.SetTimestamps(LogAppendTime, nowMillis)
	} else {
		b.SetTimestamps(CreateTime, v.MaxTimestamp)
	}
}

// CheckProduced checks the records field of one partition of a Produce request of this version, as far as that
// can be done without looking into the records, and returns the batch. Bytes behind it that do not
// amount to another batch are left out, as Kafka leaves them out.
func CheckProduced(records []byte, version int16, r *Rules) (Batch, ErrorCode) {
	b, rest, code := firstBatch(records)
	if code != NONE {
		return nil, code
	}
	if b.Codec() == Zstd && version < 7 {
		return nil, UNSUPPORTED_COMPRESSION_TYPE
	}
	if code := noMoreBatches(rest); code != NONE {
		return nil, code
	}
	return b, checkHeader(b, r)
}

// firstBatch finds the batch that a request must have.
func firstBatch(records []byte) (b Batch, rest []byte, code ErrorCode) {
	b, rest, err := NextBatch(records)
	switch err {
	case nil:
		return b, rest, NONE
	case ErrCorrupt:
		return nil, nil, CORRUPT_MESSAGE
	default: // an incomplete batch is none, and an old one is not allowed
		return nil, nil, INVALID_RECORD
	}
}

// noMoreBatches refuses a second batch, as far as it can be made out.
func noMoreBatches(rest []byte) ErrorCode {
	switch _, _, err := NextBatch(rest); err {
	case ErrIncomplete:
		return NONE
	case ErrCorrupt:
		return CORRUPT_MESSAGE
	default:
		return INVALID_RECORD
	}
}

// checkHeader checks size, header and CRC of the one batch of a request.
func checkHeader(b Batch, r *Rules) ErrorCode {
	switch {
	case b.BaseOffset() != 0:
		return INVALID_RECORD
	case int64(len(b)) > int64(r.MaxMessageBytes):
		return MESSAGE_TOO_LARGE
	case !b.ValidCRC():
		return CORRUPT_MESSAGE
	case b.Count() <= 0 || int64(b.LastOffsetDelta())+1 != int64(b.Count()):
		return INVALID_RECORD
	case b.IsControl():
		return INVALID_RECORD
	case b.ProducerID() >= 0 && b.BaseSequence() < 0:
		return INVALID_RECORD
	case b.Codec() > Zstd:
		return UNKNOWN_SERVER_ERROR
	}
	return NONE
}

// CheckRecords checks the records of an uncompressed batch that CheckProduced has let pass. It
// allocates nothing unless it refuses single records.
func CheckRecords(b Batch, r *Rules, nowMillis int64) Verdict {
	var w walker
	w.inMemory(b.Payload())
	return checkWalk(b, r, nowMillis, &w)
}

// checkWalk checks the records that w passes over.
func checkWalk(b Batch, r *Rules, nowMillis int64, w *walker) Verdict {
	v := Verdict{MaxTimestamp: NoTimestamp}
	refused := refusals{rules: r, now: nowMillis, compressed: b.Codec() != None}
	base, stamped := b.BaseTimestamp(), b.TimestampType() == LogAppendTime
	var s recordShape
	for i, n := int32(0), b.Count(); i < n; i++ {
		if err := w.record(&s); err != nil {
			return Verdict{Code: walkCode(err, refused.compressed)}
		}
		if s.offsetDelta != i {
			return Verdict{Code: refused.offsetCode()}
		}
		timestamp := base + s.timestampDelta
		if stamped {
			timestamp = b.MaxTimestamp()
		}
		if timestamp > v.MaxTimestamp {
			v.MaxTimestamp, v.MaxTimestampDelta = timestamp, s.offsetDelta
		}
		if r.Compacted && s.keyLength < 0 {
			refused.noKey(i)
		} else if !timestampAllowed(r, nowMillis, timestamp, stamped) {
			refused.timestamp(i, timestamp, &s)
		}
	}
	if err := w.end(); err != nil {
		return Verdict{Code: walkCode(err, refused.compressed)}
	}
	if refused.count > 0 {
		return refused.verdict()
	}
	return v
}

// timestampAllowed tells whether a record may have this timestamp. The differences wrap around as Kafka's do.
func timestampAllowed(r *Rules, nowMillis, timestamp int64, stamped bool) bool {
	if r.TimestampType == CreateTime && timestamp != NoTimestamp {
		age := nowMillis - timestamp
		return age <= r.TimestampBeforeMaxMillis && -age <= r.TimestampAfterMaxMillis
	}
	return !stamped
}

// walkCode is Kafka's answer to records that cannot be read.
func walkCode(err error, compressed bool) ErrorCode {
	switch err {
	case errRecordShort, errRecordStructure, errRecordsLeft:
		return INVALID_RECORD
	case errExpanded:
		return MESSAGE_TOO_LARGE
	case errRecordLength:
		if compressed {
			return INVALID_RECORD
		}
	}
	return UNKNOWN_SERVER_ERROR
}
