package protocol

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// maxRecordErrors bounds how many refused records are named one by one. (Kafka names all.)
const maxRecordErrors = 1000

// refusals collects the records of a batch for which it is refused. It works only once
// something is wrong, and so may allocate.
type refusals struct {
	rules        *Rules
	now          int64
	compressed   bool
	count        int
	badTimestamp bool
	errors       []RecordError
}

func (f *refusals) add(i int32, format string, args ...any) {
	f.count++
	if len(f.errors) < maxRecordErrors {
		f.errors = append(f.errors, RecordError{BatchIndex: i, Message: fmt.Sprintf(format, args...)})
	}
}

func (f *refusals) noKey(i int32) {
	f.add(i, "Compacted topic cannot accept message without key in topic partition %s", f.rules.Partition)
}

func (f *refusals) timestamp(i int32, timestamp int64, s *recordShape) {
	f.badTimestamp = true
	if f.rules.TimestampType == CreateTime && timestamp != NoTimestamp {
		f.add(i, "Timestamp %d of message with offset %d is out of range. The timestamp should be within [%d, %d]",
			timestamp, s.offsetDelta, f.now-f.rules.TimestampBeforeMaxMillis, f.now+f.rules.TimestampAfterMaxMillis)
		return
	}
	kind, key, value := "DefaultRecord", max(s.keyLength, 0), max(s.valueLength, 0)
	if f.compressed {
		kind, key, value = "PartialDefaultRecord", s.keyLength, s.valueLength
	}
	f.add(i, "Invalid timestamp type in message %s(offset=%d, timestamp=%d, key=%d bytes, value=%d bytes). Producer should not set timestamp type to LogAppendTime.",
		kind, s.offsetDelta, timestamp, key, value)
}

// offsetCode is the answer to a batch whose offset deltas are not 0, 1, 2, ... Kafka fails to rewrite a
// compressed one and says so. An uncompressed one it stores; here it is refused, because a log with such a
// batch in it has offsets that go back.
func (f *refusals) offsetCode() ErrorCode {
	if f.compressed {
		return UNKNOWN_SERVER_ERROR
	}
	return INVALID_RECORD
}

func (f *refusals) verdict() Verdict {
	if f.badTimestamp {
		return Verdict{Code: INVALID_TIMESTAMP, Errors: f.errors,
			Message: "One or more records have been rejected due to invalid timestamp"}
	}
	return Verdict{Code: INVALID_RECORD, Errors: f.errors,
		Message: fmt.Sprintf("One or more records have been rejected due to %d record errors in total, and only showing the first three errors at most: [%s]",
			f.count, f.firstThree())}
}

func (f *refusals) firstThree() string {
	var s strings.Builder
	for i := range f.errors[:min(3, len(f.errors))] {
		if i > 0 {
			s.WriteString(", ")
		}
		fmt.Fprintf(&s, "RecordError(batchIndex=%d, message='%s')", f.errors[i].BatchIndex, f.errors[i].Message)
	}
	return s.String()
}

// ExplainCorrupt returns the message that Kafka gives with CORRUPT_MESSAGE for a records field that CheckProduced has
// answered so: empty (null in the response) unless the bytes do not even begin a batch. (Kafka then refuses
// all of the request; here the other partitions of it are served.)
func ExplainCorrupt(records []byte) string {
	_, rest, err := NextBatch(records)
	if err != ErrCorrupt {
		return ""
	}
	if length := int32(binary.BigEndian.Uint32(rest[8:])); length < minLegacyLength {
		return fmt.Sprintf("Record size %d is less than the minimum record overhead (%d)", length, minLegacyLength)
	}
	if magic := int8(rest[magicPosition]); magic < 0 || magic > CurrentMagic {
		return fmt.Sprintf("Invalid magic found in record: %d", magic)
	}
	return ""
}
