package storage

import (
	"slices"

	"slipstream/protocol"
	"slipstream/ring"
)

// Forecast is what opening a partition would take.
type Forecast struct {
	Segments     int
	Bytes        int64
	ScanSegments int // that would be read whole and validated
	ScanBytes    int64
}

// ForecastOpen says what [Open] would have to do, reading names and sizes only. Blocking.
func ForecastOpen(k ring.Files, dir string, o OpenOptions) (f Forecast, err error) {
	entries, err := k.ReadDir(dir)
	if err != nil {
		return f, err
	}
	var logs []int64
	for _, e := range entries {
		if base, suffix, ok := parseFileName(e.Name); ok && !e.Dir && suffix == logSuffix {
			logs = append(logs, base)
		}
	}
	slices.Sort(logs)
	f.Segments = len(logs)
	first := len(logs)
	if !o.Clean {
		first = firstToValidate(logs, o.RecoveryPoint)
	}
	for i, base := range logs {
		info, err := k.Stat(dir + "/" + fileName(base, logSuffix))
		if err != nil {
			return f, err
		}
		f.Bytes += info.Size
		if i >= first {
			f.ScanSegments++
			f.ScanBytes += info.Size
		}
	}
	return f, nil
}

// TopicIDOf is the topic id that a partition's directory names; zero if it does not say.
func TopicIDOf(k ring.Files, dir string) protocol.UUID {
	b, err := ReadFile(k, dir+"/"+partitionMetadataName, 1<<16)
	if err != nil {
		return protocol.UUID{}
	}
	id, err := decodePartitionMetadata(b)
	if err != nil {
		return protocol.UUID{}
	}
	return id
}
