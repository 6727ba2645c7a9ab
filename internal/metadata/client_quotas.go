package metadata

import (
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Types of the parts of a quota entity.
const (
	QuotaUser     = "user"
	QuotaClientID = "client-id"
	QuotaIP       = "ip"
)

// maxClientQuotas is the most quotas that are kept, one for each entity and key. Every core's image has them, and who
// describes them goes through all.
const maxClientQuotas = 20_000

// quotaNumber is what the values of a quota may be.
type quotaNumber uint8

const (
	wholeLong quotaNumber = iota + 1
	wholeInt
	anyDouble
)

var (
	clientQuotaKeys = map[string]quotaNumber{
		"producer_byte_rate": wholeLong, "consumer_byte_rate": wholeLong, "request_percentage": anyDouble, "controller_mutation_rate": anyDouble,
	}
	ipQuotaKeys = map[string]quotaNumber{"connection_creation_rate": wholeInt}
)

// ClientQuotas calls f for each quota of the image, those of one entity one behind the other.
func (im *Image) ClientQuotas(f func(r *ClientQuotaRecord, sameEntity bool)) {
	last := ""
	for _, k := range im.quotas() {
		entity := k.id[:strings.LastIndexByte(k.id, quotaKeyMark)]
		f(k.record.(*ClientQuotaRecord), entity == last)
		last = entity
	}
}

func (im *Image) quotas() []keptRecord {
	key := (*ClientQuotaRecord)(nil).Key()
	compare := func(k keptRecord, key uint32) int { return int(k.key) - int(key) }
	from, _ := slices.BinarySearchFunc(im.kept, key, compare)
	to, _ := slices.BinarySearchFunc(im.kept, key+1, compare)
	return im.kept[from:to]
}

// clientQuota is the quota that a record would change; ok is false if it is not set.
func (im *Image) clientQuota(r *ClientQuotaRecord) (value float64, ok bool) {
	quotas := im.quotas()
	i, ok := slices.BinarySearchFunc(quotas, quotaIdentity(r), func(k keptRecord, id string) int { return strings.Compare(k.id, id) })
	if !ok {
		return 0, false
	}
	return quotas[i].record.(*ClientQuotaRecord).Value, true
}

type (
	alteredQuota   = kmsg.AlterClientQuotasRequestEntry
	alteredQuotaOp = kmsg.AlterClientQuotasRequestEntryOp
)

// AlterClientQuotas decides an AlterClientQuotas request (key 49). Entities are refused one by one, each whole. One that
// is named twice is answered once, and refused; Kafka refuses it too, but keeps what it was first named with.
func (c *Controller) AlterClientQuotas(req *kmsg.AlterClientQuotasRequest) (*kmsg.AlterClientQuotasResponse, []Record) {
	resp := kmsg.NewPtrAlterClientQuotasResponse()
	resp.Version = req.Version
	count := map[string]int{}
	for i := range req.Entries {
		count[quotaIdentity(&ClientQuotaRecord{Entity: quotaEntity(&req.Entries[i])})]++
	}
	var records []Record
	for i := range req.Entries {
		asked := &req.Entries[i]
		entity := quotaEntity(asked)
		id := quotaIdentity(&ClientQuotaRecord{Entity: entity})
		if count[id] == 0 {
			continue // answered
		}
		changed, refusal := c.alterClientQuotas(entity, asked.Ops)
		if count[id] > 1 {
			changed, refusal = nil, refuse(protocol.INVALID_REQUEST, "Duplicate client quota entity.")
		}
		count[id] = 0
		answer := kmsg.NewAlterClientQuotasResponseEntry()
		if refusal != nil {
			answer.ErrorCode, answer.ErrorMessage = int16(refusal.Code), refusal.text()
		}
		for _, e := range entity {
			answer.Entity = append(answer.Entity, kmsg.AlterClientQuotasResponseEntryEntity{Type: e.EntityType, Name: e.EntityName})
		}
		records = append(records, changed...)
		resp.Entries = append(resp.Entries, answer)
	}
	if !fitsBatch(records) || len(c.Image.quotas())+len(records) > maxClientQuotas {
		records = nil
		for i := range resp.Entries {
			resp.Entries[i].ErrorCode, resp.Entries[i].ErrorMessage = int16(tooManyRecords.Code), tooManyRecords.text()
		}
	}
	if req.ValidateOnly {
		records = nil
	}
	return resp, records
}

// quotaEntity is the entity of an entry: of a type that is named twice the last counts, and the order is that of
// Kafka's hash map for the types that there are.
func quotaEntity(asked *alteredQuota) (entity []EntityData) {
	for i := range asked.Entity {
		e := EntityData{EntityType: asked.Entity[i].Type, EntityName: asked.Entity[i].Name}
		at := slices.IndexFunc(entity, func(o EntityData) bool { return o.EntityType == e.EntityType })
		if at < 0 {
			entity = append(entity, e)
		} else {
			entity[at] = e
		}
	}
	slices.SortStableFunc(entity, func(a, b EntityData) int { return quotaTypeOrder(a.EntityType) - quotaTypeOrder(b.EntityType) })
	return entity
}

func quotaTypeOrder(kind string) int {
	switch kind {
	case QuotaClientID:
		return 0
	case QuotaUser:
		return 2
	case QuotaIP:
		return 3
	}
	return 1
}

// alterClientQuotas decides what becomes of one entity.
func (c *Controller) alterClientQuotas(entity []EntityData, ops []alteredQuotaOp) ([]Record, *Refusal) {
	keys, refusal := quotaKeysOf(entity)
	if refusal != nil {
		return nil, refusal
	}
	var records []Record
	seen := map[string]bool{}
	for i := range ops {
		op := &ops[i]
		if seen[op.Key] {
			return nil, refuse(protocol.INVALID_REQUEST, "Duplicate quota key %s", op.Key)
		}
		seen[op.Key] = true
		r := &ClientQuotaRecord{Entity: entity, QuotaKey: op.Key}
		value, set := c.Image.clientQuota(r)
		if op.Remove {
			if set {
				r.Remove = true
				records = append(records, r)
			}
			continue
		}
		if refusal := checkQuota(keys, op); refusal != nil {
			return nil, refusal
		}
		if set && (value == op.Value || math.IsNaN(value) && math.IsNaN(op.Value)) {
			continue
		}
		r.Value = op.Value
		records = append(records, r)
	}
	return records, nil
}

// quotaKeysOf checks an entity and says what may be set for it.
func quotaKeysOf(entity []EntityData) (map[string]quotaNumber, *Refusal) {
	if len(entity) == 0 {
		return nil, refuse(protocol.INVALID_REQUEST, "Invalid empty client quota entity")
	}
	var client, ip bool
	for _, e := range entity {
		switch e.EntityType {
		case QuotaUser, QuotaClientID:
			client = true
		case QuotaIP:
			ip = true
		default:
			return nil, refuse(protocol.INVALID_REQUEST, "Unhandled client quota entity type: %s", e.EntityType)
		}
		if e.EntityName != nil && *e.EntityName == "" {
			return nil, refuse(protocol.INVALID_REQUEST, "Empty %s not supported", e.EntityType)
		}
	}
	switch {
	case ip && client:
		return nil, refuse(protocol.INVALID_REQUEST, "Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId")
	case ip:
		if name := entity[0].EntityName; name != nil {
			if _, ok := ParseQuotaAddress(*name); !ok {
				return nil, refuse(protocol.INVALID_REQUEST, "%s is not a valid IP or resolvable host.", *name)
			}
		}
		return ipQuotaKeys, nil
	}
	return clientQuotaKeys, nil
}

// checkQuota checks a value. Apache takes what is not a number; so does this.
func checkQuota(keys map[string]quotaNumber, op *alteredQuotaOp) *Refusal {
	number, ok := keys[op.Key]
	switch {
	case !ok:
		return refuse(protocol.INVALID_REQUEST, "Invalid configuration key %s", op.Key)
	case op.Value <= 0:
		return refuse(protocol.INVALID_REQUEST, "Quota %s must be greater than 0", op.Key)
	case number == wholeInt && op.Value > math.MaxInt32:
		return refuse(protocol.INVALID_REQUEST, "Proposed value for %s is too large for an INT.", op.Key)
	case number == wholeLong && op.Value > math.MaxInt64:
		return refuse(protocol.INVALID_REQUEST, "Proposed value for %s is too large for a LONG.", op.Key)
	case number != anyDouble && math.Abs(op.Value-math.Round(op.Value)) > 1e-6:
		return refuse(protocol.INVALID_REQUEST, "%s cannot be a fractional value.", op.Key)
	}
	return nil
}

// ParseQuotaAddress reads the address of a quota entity: IPv6, or IPv4 with up to four parts, of which the last fills
// what is left, as Java reads it. Names of hosts are not looked up: a decision asks nobody.
func ParseQuotaAddress(s string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Unmap().WithZone(""), true
	}
	parts := strings.Split(s, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var b [4]byte
	for i, p := range parts {
		bits := 8
		if i == len(parts)-1 {
			bits = 8 * (5 - len(parts))
		}
		n, err := strconv.ParseUint(p, 10, bits)
		if err != nil {
			return netip.Addr{}, false
		}
		if i < len(parts)-1 {
			b[i] = byte(n)
			continue
		}
		for at := 3; at >= i; at-- {
			b[at] = byte(n)
			n >>= 8
		}
	}
	return netip.AddrFrom4(b), true
}
