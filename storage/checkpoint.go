package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"slipstream/protocol"
	"slipstream/ring"
)

// Kafka's checkpoint files are text, one item a line, each line ended:
//
//	recovery-point-offset-checkpoint,     leader-epoch-checkpoint
//	log-start-, replication-, cleaner-
//	+---------------------------+         +---------------------------+
//	| 0              (version)  |         | 0              (version)  |
//	| number of entries         |         | number of entries         |
//	| topic partition offset    |         | epoch start-offset        |
//	| ...                       |         | ...                       |
//	+---------------------------+         +---------------------------+
//
// They are replaced, never changed in place. An empty file, which is what Kafka makes first, has
// no entries.
const maxCheckpointBytes = 256 << 20

// OffsetEntry is one line of an offset checkpoint.
type OffsetEntry struct {
	Topic     string
	Partition int32
	Offset    int64
}

// AppendOffsets encodes an offset checkpoint.
func AppendOffsets(b []byte, entries []OffsetEntry) []byte {
	b = appendCheckpointHead(b, len(entries))
	for i := range entries {
		e := &entries[i]
		b = append(append(b, e.Topic...), ' ')
		b = append(strconv.AppendInt(b, int64(e.Partition), 10), ' ')
		b = append(strconv.AppendInt(b, e.Offset, 10), '\n')
	}
	return b
}

func appendCheckpointHead(b []byte, n int) []byte {
	b = append(b, "0\n"...)
	return append(strconv.AppendInt(b, int64(n), 10), '\n')
}

// DecodeOffsets decodes an offset checkpoint.
func DecodeOffsets(b []byte) ([]OffsetEntry, error) {
	var entries []OffsetEntry
	err := eachCheckpointLine(b, 3, func(f []string) error {
		partition, err := strconv.ParseInt(f[1], 10, 32)
		if err != nil || partition < 0 {
			return fmt.Errorf("%q is not a partition", f[1])
		}
		offset, err := parseOffset(f[2])
		entries = append(entries, OffsetEntry{f[0], int32(partition), offset})
		return err
	})
	if err != nil {
		return nil, err
	}
	return entries, nil
}

func parseOffset(s string) (int64, error) {
	offset, err := strconv.ParseInt(s, 10, 64)
	if err != nil || offset < 0 {
		return 0, fmt.Errorf("%q is not an offset", s)
	}
	return offset, nil
}

// eachCheckpointLine checks a checkpoint's head and calls f with the fields of each line.
func eachCheckpointLine(b []byte, fields int, f func([]string) error) error {
	if len(b) == 0 {
		return nil
	}
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	if lines[0] != "0" {
		return fmt.Errorf("version %q of a checkpoint is not known, only 0", lines[0])
	}
	if len(lines) < 2 {
		return errors.New("a checkpoint ends before its number of entries")
	}
	n, err := strconv.Atoi(lines[1])
	if err != nil || n != len(lines)-2 {
		return fmt.Errorf("a checkpoint says that it has %q entries and has %d", lines[1], len(lines)-2)
	}
	for i, line := range lines[2:] {
		parts := strings.Fields(line)
		if len(parts) != fields {
			return fmt.Errorf("line %d of a checkpoint, %q, does not have %d fields", i+3, line, fields)
		}
		if err := f(parts); err != nil {
			return fmt.Errorf("line %d of a checkpoint: %w", i+3, err)
		}
	}
	return nil
}

// readCheckpoint reads a checkpoint file; one that is not there has no entries.
func readOffsets(k ring.Files, path string) ([]OffsetEntry, error) {
	b, err := ReadFile(k, path, maxCheckpointBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	entries, err := DecodeOffsets(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return entries, nil
}

// partition.metadata holds the topic's id:
//
//	version: 0
//	topic_id: 22 characters of base64      (no line end)

func encodePartitionMetadata(id protocol.UUID) []byte {
	return []byte("version: 0\ntopic_id: " + id.String())
}

func decodePartitionMetadata(b []byte) (id protocol.UUID, err error) {
	version, rest, _ := strings.Cut(strings.TrimRight(string(b), "\n"), "\n")
	if version != "version: 0" {
		return id, fmt.Errorf("%q is not the first line of a partition.metadata of version 0", version)
	}
	text, ok := strings.CutPrefix(rest, "topic_id: ")
	if !ok {
		return id, errors.New("a partition.metadata has no topic_id")
	}
	return protocol.ParseUUID(text)
}
