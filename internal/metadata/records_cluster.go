package metadata

// Endpoint is a listener of a broker or controller.
type Endpoint struct {
	Name             string
	Host             string
	Port             uint16
	SecurityProtocol int16
	Tags             []Tag
}

// FeatureRange is the levels of a feature that a broker or controller supports.
type FeatureRange struct {
	Name                string
	MinSupportedVersion int16 // the minimum supported feature level
	MaxSupportedVersion int16 // the maximum supported feature level
	Tags                []Tag
}

// RegisterBrokerRecord is a broker's (re-)registration. It replaces an earlier
// registration of the same id; the broker epoch is the record's own offset in
// the log, as the controller foresees it.
type RegisterBrokerRecord struct {
	Version              int16
	BrokerID             int32
	IsMigratingZkBroker  bool           // a ZooKeeper broker in migration (v2+)
	IncarnationID        UUID           // the incarnation ID of the broker process
	BrokerEpoch          int64          // the broker epoch assigned by the controller
	EndPoints            []Endpoint     // the endpoints that can be used to communicate with this broker
	Features             []FeatureRange // the features on this broker
	Rack                 *string        // the broker rack
	Fenced               bool           // true if the broker is fenced
	InControlledShutdown bool           // true if the broker is in controlled shutdown (v1+)
	LogDirs              []UUID         // available log directories (v3+)
	CordonedLogDirs      []UUID         // nil: not known yet (v4+)
	Tags                 []Tag
}

// Key is 0 (RegisterBrokerRecord.json).
func (r *RegisterBrokerRecord) Key() uint32        { return 0 }
func (r *RegisterBrokerRecord) version() int16     { return r.Version }
func (r *RegisterBrokerRecord) setVersion(v int16) { r.Version = v }

func (r *RegisterBrokerRecord) body(c *codec) {
	c.int32(&r.BrokerID)
	if r.Version >= 2 {
		c.bool(&r.IsMigratingZkBroker)
	}
	c.uuid(&r.IncarnationID)
	c.int64(&r.BrokerEpoch)
	array(c, &r.EndPoints, 7, (*codec).endpoint)
	array(c, &r.Features, 6, (*codec).featureRange)
	c.nullableString(&r.Rack)
	c.bool(&r.Fenced)
	if r.Version >= 1 {
		c.bool(&r.InControlledShutdown)
	}
	c.tags(&r.Tags,
		optional{0, r.Version >= 3, len(r.LogDirs) > 0, func(c *codec) { c.uuids(&r.LogDirs) }},
		optional{1, r.Version >= 4, r.CordonedLogDirs != nil, func(c *codec) { c.nullableUUIDs(&r.CordonedLogDirs) }},
	)
}

func (c *codec) endpoint(e *Endpoint) {
	c.string(&e.Name)
	c.string(&e.Host)
	c.uint16(&e.Port)
	c.int16(&e.SecurityProtocol)
	c.tags(&e.Tags)
}

func (c *codec) featureRange(e *FeatureRange) {
	c.string(&e.Name)
	c.int16(&e.MinSupportedVersion)
	c.int16(&e.MaxSupportedVersion)
	c.tags(&e.Tags)
}

// UnregisterBrokerRecord removes a registration.
type UnregisterBrokerRecord struct {
	BrokerID    int32
	BrokerEpoch int64
	Tags        []Tag
}

// Key is 1 (UnregisterBrokerRecord.json).
func (r *UnregisterBrokerRecord) Key() uint32      { return 1 }
func (r *UnregisterBrokerRecord) version() int16   { return 0 }
func (r *UnregisterBrokerRecord) setVersion(int16) {}

func (r *UnregisterBrokerRecord) body(c *codec) {
	c.int32(&r.BrokerID)
	c.int64(&r.BrokerEpoch)
	c.tags(&r.Tags)
}

// FenceBrokerRecord takes a broker out of service. Kafka before 3.3 wrote it; now
// [BrokerRegistrationChangeRecord] does.
type FenceBrokerRecord struct {
	ID    int32 // the broker ID to fence. It will be removed from all ISRs
	Epoch int64 // the epoch of the broker to fence
	Tags  []Tag
}

// Key is 7 (FenceBrokerRecord.json).
func (r *FenceBrokerRecord) Key() uint32      { return 7 }
func (r *FenceBrokerRecord) version() int16   { return 0 }
func (r *FenceBrokerRecord) setVersion(int16) {}

func (r *FenceBrokerRecord) body(c *codec) {
	c.int32(&r.ID)
	c.int64(&r.Epoch)
	c.tags(&r.Tags)
}

// UnfenceBrokerRecord puts a broker into service; see [FenceBrokerRecord].
type UnfenceBrokerRecord struct {
	ID    int32 // the broker ID to unfence
	Epoch int64 // the epoch of the broker to unfence
	Tags  []Tag
}

// Key is 8 (UnfenceBrokerRecord.json).
func (r *UnfenceBrokerRecord) Key() uint32      { return 8 }
func (r *UnfenceBrokerRecord) version() int16   { return 0 }
func (r *UnfenceBrokerRecord) setVersion(int16) {}

func (r *UnfenceBrokerRecord) body(c *codec) {
	c.int32(&r.ID)
	c.int64(&r.Epoch)
	c.tags(&r.Tags)
}

// BrokerRegistrationChangeRecord changes parts of a registration: fencing,
// controlled shutdown, log directories.
type BrokerRegistrationChangeRecord struct {
	Version              int16
	BrokerID             int32
	BrokerEpoch          int64  // the broker epoch assigned by the controller
	Fenced               int8   // 1 fence, 0 no change, -1 unfence
	InControlledShutdown int8   // 1 begins, 0 no change (v1+)
	LogDirs              []UUID // empty: no change (v2+)
	CordonedLogDirs      []UUID // nil: no change (v3+)
	Tags                 []Tag
}

// Key is 17 (BrokerRegistrationChangeRecord.json).
func (r *BrokerRegistrationChangeRecord) Key() uint32        { return 17 }
func (r *BrokerRegistrationChangeRecord) version() int16     { return r.Version }
func (r *BrokerRegistrationChangeRecord) setVersion(v int16) { r.Version = v }

func (r *BrokerRegistrationChangeRecord) body(c *codec) {
	c.int32(&r.BrokerID)
	c.int64(&r.BrokerEpoch)
	c.tags(&r.Tags,
		optional{0, true, r.Fenced != 0, func(c *codec) { c.int8(&r.Fenced) }},
		optional{1, r.Version >= 1, r.InControlledShutdown != 0, func(c *codec) { c.int8(&r.InControlledShutdown) }},
		optional{2, r.Version >= 2, len(r.LogDirs) > 0, func(c *codec) { c.uuids(&r.LogDirs) }},
		optional{3, r.Version >= 3, r.CordonedLogDirs != nil, func(c *codec) { c.nullableUUIDs(&r.CordonedLogDirs) }},
	)
}

// RegisterControllerRecord is a controller's registration.
type RegisterControllerRecord struct {
	ControllerID     int32          // the controller id
	IncarnationID    UUID           // the incarnation ID of the controller process
	ZkMigrationReady bool           // always false since 4.0
	EndPoints        []Endpoint     // the endpoints that can be used to communicate with this controller
	Features         []FeatureRange // the features on this controller
	Tags             []Tag
}

// Key is 27 (RegisterControllerRecord.json).
func (r *RegisterControllerRecord) Key() uint32      { return 27 }
func (r *RegisterControllerRecord) version() int16   { return 0 }
func (r *RegisterControllerRecord) setVersion(int16) {}

func (r *RegisterControllerRecord) body(c *codec) {
	c.int32(&r.ControllerID)
	c.uuid(&r.IncarnationID)
	c.bool(&r.ZkMigrationReady)
	array(c, &r.EndPoints, 7, (*codec).endpoint)
	array(c, &r.Features, 6, (*codec).featureRange)
	c.tags(&r.Tags)
}

// FeatureLevelRecord finalizes a feature at a level; 0 removes it. The first
// record of every log and snapshot is the one for metadata.version.
type FeatureLevelRecord struct {
	Name         string
	FeatureLevel int16 // 0: not supported
	Tags         []Tag
}

// Key is 12 (FeatureLevelRecord.json).
func (r *FeatureLevelRecord) Key() uint32      { return 12 }
func (r *FeatureLevelRecord) version() int16   { return 0 }
func (r *FeatureLevelRecord) setVersion(int16) {}

func (r *FeatureLevelRecord) body(c *codec) {
	c.string(&r.Name)
	c.int16(&r.FeatureLevel)
	c.tags(&r.Tags)
}

// ProducerIdsRecord hands out the block of producer ids that ends before
// NextProducerID.
type ProducerIdsRecord struct {
	BrokerID       int32 // the ID of the requesting broker
	BrokerEpoch    int64 // the epoch of the requesting broker
	NextProducerID int64 // the first id of the next block
	Tags           []Tag
}

// Key is 15 (ProducerIdsRecord.json).
func (r *ProducerIdsRecord) Key() uint32      { return 15 }
func (r *ProducerIdsRecord) version() int16   { return 0 }
func (r *ProducerIdsRecord) setVersion(int16) {}

func (r *ProducerIdsRecord) body(c *codec) {
	c.int32(&r.BrokerID)
	c.int64(&r.BrokerEpoch)
	c.int64(&r.NextProducerID)
	c.tags(&r.Tags)
}

// ZkMigrationStateRecord is left over in logs of clusters that came from
// ZooKeeper.
type ZkMigrationStateRecord struct {
	ZkMigrationState int8 // one of the possible migration states
	Tags             []Tag
}

// Key is 21 (ZkMigrationStateRecord.json).
func (r *ZkMigrationStateRecord) Key() uint32      { return 21 }
func (r *ZkMigrationStateRecord) version() int16   { return 0 }
func (r *ZkMigrationStateRecord) setVersion(int16) {}

func (r *ZkMigrationStateRecord) body(c *codec) {
	c.int8(&r.ZkMigrationState)
	c.tags(&r.Tags)
}
