package txn

// Logged is what a record of __transaction_state says of a transactional id, for tools that read the log.
type Logged struct {
	ProducerID         int64
	PreviousProducerID int64 // -1: none
	NextProducerID     int64 // -1: none
	ProducerEpoch      int16
	TimeoutMillis      int32
	State              string
	Partitions         []TopicPartition
	StartMillis        int64 // since 1970; -1: none yet
	UpdateMillis       int64 // since 1970
}

// DecodeLogged reads a record of __transaction_state. No value (a tombstone) gives nil. The error wraps ErrVersion if the
// record is of a version that is not known; any other means that it is damaged. Nothing aliases the bytes given.
func DecodeLogged(key, value []byte) (id string, l *Logged, err error) {
	if id, err = decodeKey(key); err != nil || value == nil {
		return id, nil, err
	}
	m, err := decodeValue(value)
	if err != nil {
		return id, nil, err
	}
	return id, &Logged{
		m.producerID, m.previousProducerID, m.nextProducerID, m.producerEpoch, m.timeoutMillis, m.state.String(), m.partitions, m.startMillis, m.updateMillis,
	}, nil
}
