package metadata

// NoOpRecord moves the log on and changes nothing. An active Kafka controller
// writes one every half second.
type NoOpRecord struct {
	Tags []Tag
}

// Key is 20 (NoOpRecord.json).
func (r *NoOpRecord) Key() uint32      { return 20 }
func (r *NoOpRecord) version() int16   { return 0 }
func (r *NoOpRecord) setVersion(int16) {}

func (r *NoOpRecord) body(c *codec) {
	c.tags(&r.Tags)
}

// BeginTransactionRecord opens a metadata transaction: the records up to its
// end count together or not at all.
type BeginTransactionRecord struct {
	Name *string // an optional textual description of this transaction
	Tags []Tag
}

// Key is 23 (BeginTransactionRecord.json).
func (r *BeginTransactionRecord) Key() uint32      { return 23 }
func (r *BeginTransactionRecord) version() int16   { return 0 }
func (r *BeginTransactionRecord) setVersion(int16) {}

func (r *BeginTransactionRecord) body(c *codec) {
	c.tags(&r.Tags,
		optional{0, true, r.Name != nil, func(c *codec) { c.nullableString(&r.Name) }},
	)
}

// EndTransactionRecord commits the open metadata transaction.
type EndTransactionRecord struct {
	Tags []Tag
}

// Key is 24 (EndTransactionRecord.json).
func (r *EndTransactionRecord) Key() uint32      { return 24 }
func (r *EndTransactionRecord) version() int16   { return 0 }
func (r *EndTransactionRecord) setVersion(int16) {}

func (r *EndTransactionRecord) body(c *codec) {
	c.tags(&r.Tags)
}

// AbortTransactionRecord drops the open metadata transaction.
type AbortTransactionRecord struct {
	Reason *string // an optional textual description of why the transaction was aborted
	Tags   []Tag
}

// Key is 25 (AbortTransactionRecord.json).
func (r *AbortTransactionRecord) Key() uint32      { return 25 }
func (r *AbortTransactionRecord) version() int16   { return 0 }
func (r *AbortTransactionRecord) setVersion(int16) {}

func (r *AbortTransactionRecord) body(c *codec) {
	c.tags(&r.Tags,
		optional{0, true, r.Reason != nil, func(c *codec) { c.nullableString(&r.Reason) }},
	)
}
