package metadata

import (
	"strconv"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// How a component of a DescribeClientQuotas request matches a part of an entity.
const (
	matchExact     = 0
	matchDefault   = 1
	matchSpecified = 2
)

// DescribeClientQuotas answers a DescribeClientQuotas request (key 48) from the image, in the order of the entities'
// types and names.
func (im *Image) DescribeClientQuotas(req *kmsg.DescribeClientQuotasRequest) *kmsg.DescribeClientQuotasResponse {
	resp := kmsg.NewPtrDescribeClientQuotasResponse()
	resp.Version = req.Version
	empty := ""
	resp.ErrorMessage = &empty
	if refusal := checkQuotaFilter(req.Components); refusal != nil {
		resp.ErrorCode, resp.ErrorMessage = int16(refusal.Code), refusal.text()
		return resp
	}
	resp.Entries = []kmsg.DescribeClientQuotasResponseEntry{}
	wanted := false
	im.ClientQuotas(func(r *ClientQuotaRecord, sameEntity bool) {
		if !sameEntity {
			if wanted = filterMatches(req, r.Entity); wanted {
				resp.Entries = append(resp.Entries, describeEntity(r.Entity))
			}
		}
		if wanted {
			at := &resp.Entries[len(resp.Entries)-1]
			at.Values = append(at.Values, kmsg.DescribeClientQuotasResponseEntryValue{Key: r.QuotaKey, Value: r.Value})
		}
	})
	return resp
}

func describeEntity(entity []EntityData) kmsg.DescribeClientQuotasResponseEntry {
	out := kmsg.NewDescribeClientQuotasResponseEntry()
	for _, e := range entity {
		out.Entity = append(out.Entity, kmsg.DescribeClientQuotasResponseEntryEntity{Type: e.EntityType, Name: e.EntityName})
	}
	return out
}

func checkQuotaFilter(components []kmsg.DescribeClientQuotasRequestComponent) *Refusal {
	seen := map[string]bool{}
	for i := range components {
		q := &components[i]
		switch kind := q.EntityType; {
		case kind == "":
			return refuse(protocol.INVALID_REQUEST, "Invalid empty entity type.")
		case seen[kind]:
			return refuse(protocol.INVALID_REQUEST, "Entity type %s cannot appear more than once in the filter.", kind)
		case kind != QuotaIP && kind != QuotaUser && kind != QuotaClientID:
			return refuse(protocol.UNSUPPORTED_VERSION, "Unsupported entity type %s", kind)
		}
		seen[q.EntityType] = true
		switch {
		case q.MatchType == matchExact && q.Match == nil:
			return refuse(protocol.INVALID_REQUEST, "Request specified MATCH_TYPE_EXACT, but set match string to null.")
		case q.MatchType == matchDefault && q.Match != nil:
			return refuse(protocol.INVALID_REQUEST, "Request specified MATCH_TYPE_DEFAULT, but also specified a match string.")
		case q.MatchType == matchSpecified && q.Match != nil:
			return refuse(protocol.INVALID_REQUEST, "Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.")
		case q.MatchType < matchExact || q.MatchType > matchSpecified:
			return refuse(protocol.INVALID_REQUEST, "Unknown match type %s", strconv.Itoa(int(q.MatchType)))
		}
	}
	if seen[QuotaIP] && (seen[QuotaUser] || seen[QuotaClientID]) {
		return refuse(protocol.INVALID_REQUEST,
			"Invalid entity filter component combination. IP filter component should not be used with user or clientId filter component.")
	}
	return nil
}

func filterMatches(req *kmsg.DescribeClientQuotasRequest, entity []EntityData) bool {
	if req.Strict && len(entity) != len(req.Components) {
		return false
	}
	for i := range req.Components {
		if !componentMatches(&req.Components[i], entity) {
			return false
		}
	}
	return true
}

func componentMatches(q *kmsg.DescribeClientQuotasRequestComponent, entity []EntityData) bool {
	for _, e := range entity {
		if e.EntityType != q.EntityType {
			continue
		}
		switch q.MatchType {
		case matchExact:
			return e.EntityName != nil && *e.EntityName == *q.Match
		case matchDefault:
			return e.EntityName == nil
		}
		return true
	}
	return false
}
