package metadata

import "slipstream/protocol"

// UUID is one of Kafka's 128-bit ids: of a topic, a log directory, an
// incarnation. A plain [16]byte, as kmsg has it, can be assigned to it.
type UUID = protocol.UUID

// Ids that Kafka reserves (Uuid and DirectoryId of Apache Kafka 4.3). A random id
// is never one of the first hundred: Kafka draws again.
var (
	DirectoryMigrating  = UUID{15: 0} // a replica's directory before directories had ids
	DirectoryUnassigned = UUID{15: 1} // a replica whose broker has not yet said where it is
	DirectoryLost       = UUID{15: 2} // a replica whose directory failed
)

// reservedID reports whether u is one of the first hundred ids.
func reservedID(u UUID) bool {
	for _, b := range u[:15] {
		if b != 0 {
			return false
		}
	}
	return u[15] < 100
}
