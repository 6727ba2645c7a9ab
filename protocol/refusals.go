package protocol

import (
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
	f.add(i, "Compacted topic cannot accept message without key.")
}

func (f *refusals) timestamp(i int32, timestamp int64, offset int32, stamped bool) {
	f.badTimestamp = true
	if f.rules.TimestampType == CreateTime && timestamp != NoTimestamp {
		f.add(i, "Timestamp %d of message with offset %d is out of range. The timestamp should be within [%d, %d]",
			timestamp, offset, f.now-f.rules.TimestampBeforeMaxMillis, f.now+f.rules.TimestampAfterMaxMillis)
		return
	}
	f.add(i, "Invalid timestamp type in message. Producer should not set timestamp type to LogAppendTime.")
}

func (f *refusals) verdict() Verdict {
	if f.badTimestamp {
		return Verdict{Code: INVALID_TIMESTAMP, Errors: f.errors,
			Message: "One or more records have been rejected due to invalid timestamp"}
	}
	return Verdict{Code: INVALID_RECORD, Errors: f.errors,
		Message: fmt.Sprintf("One or more records have been rejected due to %d record errors in total, and only showing the first three errors at most: %s", f.count, f.firstThree())}
}

func (f *refusals) firstThree() string {
	var s strings.Builder
	for i := range f.errors[:min(3, len(f.errors))] {
		if i > 0 {
			s.WriteString(", ")
		}
		fmt.Fprintf(&s, "record %d: %s", f.errors[i].BatchIndex, f.errors[i].Message)
	}
	return s.String()
}
