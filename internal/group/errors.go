package group

import (
	"fmt"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// refusal is an error with Kafka's code and the text that goes with it.
type refusal struct {
	code    protocol.ErrorCode
	message string
}

func refusef(code protocol.ErrorCode, format string, args ...any) *refusal {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

func (r *refusal) text() *string {
	if r.message == "" {
		return nil
	}
	return &r.message
}

// refusedResponse is the answer to a request that is not looked at further.
func refusedResponse(req kmsg.Request, code protocol.ErrorCode) kmsg.Response {
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	switch req := req.(type) {
	case *kmsg.OffsetCommitRequest:
		refusedCommit(req, resp.(*kmsg.OffsetCommitResponse))
	case *kmsg.TxnOffsetCommitRequest:
		refusedTxnCommit(req, resp.(*kmsg.TxnOffsetCommitResponse))
	case *kmsg.OffsetFetchRequest:
		refusedFetch(req, resp.(*kmsg.OffsetFetchResponse))
	case *kmsg.DescribeGroupsRequest:
		for _, id := range req.Groups {
			answer := kmsg.NewDescribeGroupsResponseGroup()
			answer.Group = id
			resp.(*kmsg.DescribeGroupsResponse).Groups = append(resp.(*kmsg.DescribeGroupsResponse).Groups, answer)
		}
	case *kmsg.ConsumerGroupDescribeRequest:
		for _, id := range req.Groups {
			answer := kmsg.NewConsumerGroupDescribeResponseGroup()
			answer.Group = id
			resp.(*kmsg.ConsumerGroupDescribeResponse).Groups = append(resp.(*kmsg.ConsumerGroupDescribeResponse).Groups, answer)
		}
	case *kmsg.DeleteGroupsRequest:
		for _, id := range req.Groups {
			resp.(*kmsg.DeleteGroupsResponse).Groups = append(resp.(*kmsg.DeleteGroupsResponse).Groups, kmsg.DeleteGroupsResponseGroup{Group: id})
		}
	case *kmsg.ShareGroupDescribeRequest:
		for _, id := range req.GroupIDs {
			answer := kmsg.NewShareGroupDescribeResponseGroup()
			answer.GroupID = id
			resp.(*kmsg.ShareGroupDescribeResponse).Groups = append(resp.(*kmsg.ShareGroupDescribeResponse).Groups, answer)
		}
	case *kmsg.DescribeShareGroupOffsetsRequest:
		for _, g := range req.Groups {
			answer := kmsg.NewDescribeShareGroupOffsetsResponseGroup()
			answer.GroupID = g.GroupID
			resp.(*kmsg.DescribeShareGroupOffsetsResponse).Groups = append(resp.(*kmsg.DescribeShareGroupOffsetsResponse).Groups, answer)
		}
	case *kmsg.HeartbeatRequest:
		if code == protocol.COORDINATOR_LOAD_IN_PROGRESS {
			return resp // as Kafka: who still has a session keeps it, blindly
		}
	}
	refuse(resp, code)
	return resp
}

func refusedCommit(req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse) {
	for _, t := range req.Topics {
		answer := kmsg.OffsetCommitResponseTopic{Topic: t.Topic, TopicID: t.TopicID}
		for _, p := range t.Partitions {
			answer.Partitions = append(answer.Partitions, kmsg.OffsetCommitResponseTopicPartition{Partition: p.Partition})
		}
		resp.Topics = append(resp.Topics, answer)
	}
}

func refusedTxnCommit(req *kmsg.TxnOffsetCommitRequest, resp *kmsg.TxnOffsetCommitResponse) {
	for _, t := range req.Topics {
		answer := kmsg.TxnOffsetCommitResponseTopic{Topic: t.Topic, TopicID: t.TopicID}
		for _, p := range t.Partitions {
			answer.Partitions = append(answer.Partitions, kmsg.TxnOffsetCommitResponseTopicPartition{Partition: p.Partition})
		}
		resp.Topics = append(resp.Topics, answer)
	}
}

func refusedFetch(req *kmsg.OffsetFetchRequest, resp *kmsg.OffsetFetchResponse) {
	for _, g := range req.Groups {
		answer := kmsg.NewOffsetFetchResponseGroup()
		answer.Group = g.Group
		resp.Groups = append(resp.Groups, answer)
	}
	if req.Version < 2 { // has no error of its own
		for _, t := range req.Topics {
			answer := kmsg.OffsetFetchResponseTopic{Topic: t.Topic}
			for _, p := range t.Partitions {
				answer.Partitions = append(answer.Partitions, kmsg.OffsetFetchResponseTopicPartition{
					Partition: p, Offset: -1, LeaderEpoch: -1, Metadata: &noMetadata})
			}
			resp.Topics = append(resp.Topics, answer)
		}
	}
}

// refuse turns a response into an error, keeping whom it speaks of.
func refuse(resp kmsg.Response, code protocol.ErrorCode) {
	e := int16(code)
	switch r := resp.(type) {
	case *kmsg.JoinGroupResponse:
		*r = *joinError(&kmsg.JoinGroupRequest{Version: r.Version}, r.MemberID, code)
	case *kmsg.SyncGroupResponse:
		*r = *syncError(r.Version, code)
	case *kmsg.HeartbeatResponse:
		r.ErrorCode = e
	case *kmsg.LeaveGroupResponse:
		r.ErrorCode, r.Members = e, nil
	case *kmsg.OffsetCommitResponse:
		for i := range r.Topics {
			for j := range r.Topics[i].Partitions {
				r.Topics[i].Partitions[j].ErrorCode = e
			}
		}
	case *kmsg.TxnOffsetCommitResponse:
		for i := range r.Topics {
			for j := range r.Topics[i].Partitions {
				r.Topics[i].Partitions[j].ErrorCode = e
			}
		}
	case *kmsg.OffsetFetchResponse:
		refuseFetch(r, e)
	case *kmsg.OffsetDeleteResponse:
		r.ErrorCode, r.Topics = e, nil
	case *kmsg.ConsumerGroupHeartbeatResponse:
		version := r.Version
		*r = kmsg.NewConsumerGroupHeartbeatResponse()
		r.Version, r.ErrorCode = version, e
	case *kmsg.ConsumerGroupDescribeResponse:
		for i := range r.Groups {
			id := r.Groups[i].Group
			r.Groups[i] = kmsg.NewConsumerGroupDescribeResponseGroup()
			r.Groups[i].Group, r.Groups[i].ErrorCode = id, e
		}
	case *kmsg.ShareGroupHeartbeatResponse:
		version := r.Version
		*r = kmsg.NewShareGroupHeartbeatResponse()
		r.Version, r.ErrorCode = version, e
	case *kmsg.ShareGroupDescribeResponse:
		for i := range r.Groups {
			id := r.Groups[i].GroupID
			r.Groups[i] = kmsg.NewShareGroupDescribeResponseGroup()
			r.Groups[i].GroupID, r.Groups[i].ErrorCode = id, e
		}
	case *kmsg.DescribeShareGroupOffsetsResponse:
		for i := range r.Groups {
			r.Groups[i].ErrorCode, r.Groups[i].Topics = e, nil
		}
	case *kmsg.AlterShareGroupOffsetsResponse:
		r.ErrorCode, r.Topics = e, nil
	case *kmsg.DeleteShareGroupOffsetsResponse:
		r.ErrorCode, r.Topics = e, nil
	case *kmsg.DescribeGroupsResponse:
		for i := range r.Groups {
			id := r.Groups[i].Group
			r.Groups[i] = kmsg.NewDescribeGroupsResponseGroup()
			r.Groups[i].Group, r.Groups[i].ErrorCode = id, e
		}
	case *kmsg.ListGroupsResponse:
		r.ErrorCode, r.Groups = e, nil
	case *kmsg.DeleteGroupsResponse:
		for i := range r.Groups {
			r.Groups[i].ErrorCode = e
		}
	}
}

func refuseFetch(r *kmsg.OffsetFetchResponse, e int16) {
	r.ErrorCode = e
	for i := range r.Groups {
		r.Groups[i].ErrorCode, r.Groups[i].Topics = e, []kmsg.OffsetFetchResponseGroupTopic{}
	}
	if r.Version >= 2 {
		r.Topics = nil
		return
	}
	for i := range r.Topics {
		for j := range r.Topics[i].Partitions {
			p := &r.Topics[i].Partitions[j]
			*p = kmsg.OffsetFetchResponseTopicPartition{Partition: p.Partition, Offset: -1, LeaderEpoch: -1, Metadata: &noMetadata, ErrorCode: e}
		}
	}
}

// Refuse is the answer to a request that no coordinator looks at: there is none, or
// it is being loaded. A Heartbeat to a coordinator that is being loaded is answered
// without an error, as by Kafka.
func Refuse(req kmsg.Request, code protocol.ErrorCode) kmsg.Response {
	return refusedResponse(req, code)
}
