package metadata

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Records of quotas, credentials, ACLs and tokens: this program does not act on
// them yet, but they are state, and a snapshot that left them out would lose
// them. Each is kept under its record type and the identity that a later record
// of the type replaces or removes.

type keptRecord struct {
	key    uint32
	id     string
	record Record
}

// Kept lists them: quotas, credentials, ACLs, tokens. Unlike other lookups it allocates.
func (im *Image) Kept() []Record {
	records := make([]Record, len(im.kept))
	for i := range im.kept {
		records[i] = im.kept[i].record
	}
	return records
}

func (im *Image) keep(r Record) {
	key, id, remove := identity(r)
	i, ok := im.searchKept(key, id)
	switch {
	case ok && remove:
		im.kept = slices.Delete(im.kept, i, i+1)
	case ok:
		im.kept[i].record = r
	case !remove:
		im.kept = slices.Insert(im.kept, i, keptRecord{key, id, r})
	}
}

func (im *Image) searchKept(key uint32, id string) (int, bool) {
	return slices.BinarySearchFunc(im.kept, keptRecord{key: key, id: id}, func(a, b keptRecord) int {
		return cmp.Or(cmp.Compare(a.key, b.key), strings.Compare(a.id, b.id))
	})
}

// identity is the record type that r belongs to in the image, what it is about,
// and whether it removes that.
func identity(r Record) (key uint32, id string, remove bool) {
	switch r := r.(type) {
	case *ClientQuotaRecord:
		return r.Key(), quotaIdentity(r), r.Remove
	case *UserScramCredentialRecord:
		return r.Key(), scramIdentity(r.Name, r.Mechanism), false
	case *RemoveUserScramCredentialRecord:
		return (*UserScramCredentialRecord)(nil).Key(), scramIdentity(r.Name, r.Mechanism), true
	case *AccessControlEntryRecord:
		return r.Key(), string(r.ID[:]), false
	case *RemoveAccessControlEntryRecord:
		return (*AccessControlEntryRecord)(nil).Key(), string(r.ID[:]), true
	case *DelegationTokenRecord:
		return r.Key(), r.TokenID, false
	case *RemoveDelegationTokenRecord:
		return (*DelegationTokenRecord)(nil).Key(), r.TokenID, true
	default:
		return r.Key(), "", false // one of its kind: ZkMigrationStateRecord
	}
}

func scramIdentity(name string, mechanism int8) string {
	return name + "\x00" + strconv.Itoa(int(mechanism))
}

// quotaKeyMark stands between the parts of a quota's identity, of which the key is the last.
const quotaKeyMark = '\x01'

// quotaIdentity does not depend on the order of the entity's parts.
func quotaIdentity(r *ClientQuotaRecord) string {
	parts := make([]string, 0, len(r.Entity)+1)
	for _, e := range r.Entity {
		name := "default"
		if e.EntityName != nil {
			name = "name\x00" + *e.EntityName
		}
		parts = append(parts, strconv.Quote(e.EntityType)+name)
	}
	slices.Sort(parts)
	return strings.Join(append(parts, r.QuotaKey), string(quotaKeyMark))
}
