package storage

import "slipstream/ring"

// ReplaceFile gives a file new contents so that after a crash it has either the
// old ones or the new ones, whole. Blocking. For the files of a data directory
// that are not this package's own, such as quorum-state.
func ReplaceFile(k ring.Files, path string, contents []byte) error {
	return replaceFile(k, path, contents)
}
