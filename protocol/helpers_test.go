package protocol

import (
	"hash/crc32"
	"sort"
	"strconv"
)

func itoa[T ~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint8](n T) string {
	return strconv.FormatInt(int64(n), 10)
}

func crcIEEE(b []byte) uint32 { return crc32.ChecksumIEEE(b) }

func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
