package metadata

import (
	"fmt"
	"testing"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func quotaRequest(n int, value float64) *kmsg.AlterClientQuotasRequest {
	req := kmsg.NewPtrAlterClientQuotasRequest()
	for i := range n {
		e := kmsg.NewAlterClientQuotasRequestEntry()
		e.Entity = append(e.Entity, kmsg.AlterClientQuotasRequestEntryEntity{Type: QuotaClientID, Name: kmsg.StringPtr(fmt.Sprint("c", i))})
		for _, key := range []string{"producer_byte_rate", "consumer_byte_rate"} {
			e.Ops = append(e.Ops, kmsg.AlterClientQuotasRequestEntryOp{Key: key, Value: value, Remove: value == 0})
		}
		req.Entries = append(req.Entries, e)
	}
	return req
}

// TestQuotasAreState: what is set is in the image, in the image that a snapshot makes, and is gone when it is removed;
// what changes nothing writes nothing; there is an end to it.
func TestQuotasAreState(t *testing.T) {
	c := &Controller{Image: NewImage()}
	alter := func(req *kmsg.AlterClientQuotasRequest) (int, protocol.ErrorCode) {
		resp, records := c.AlterClientQuotas(req)
		if err := c.Image.ApplyAll(records); err != nil {
			t.Fatal(err)
		}
		return len(records), protocol.ErrorCode(resp.Entries[0].ErrorCode)
	}
	for _, step := range []struct {
		n, records int
		value      float64
	}{{100, 200, 5}, {100, 0, 5}, {50, 100, 6}, {10, 20, 0}, {10, 0, 0}} {
		if records, code := alter(quotaRequest(step.n, step.value)); records != step.records || code != protocol.NONE {
			t.Errorf("%d entities to %v: %d records, %s; want %d", step.n, step.value, records, code, step.records)
		}
	}
	all := kmsg.NewPtrDescribeClientQuotasRequest()
	again := NewImage()
	if err := again.ApplyAll(c.Image.Records()); err != nil {
		t.Fatal(err)
	}
	for _, im := range []*Image{c.Image, again} {
		entries := im.DescribeClientQuotas(all).Entries
		if len(entries) != 90 || len(entries[0].Values) != 2 {
			t.Errorf("%d entities are described, the first with %d values", len(entries), len(entries[0].Values))
		}
	}
	for i := 0; i < 2*maxClientQuotas; i += 1000 {
		req := quotaRequest(500, 7)
		for j := range req.Entries {
			name := fmt.Sprint("more", i, "-", j)
			req.Entries[j].Entity[0].Name = &name
		}
		if _, code := alter(req); code == protocol.POLICY_VIOLATION {
			if n := len(c.Image.quotas()); n > maxClientQuotas || n < maxClientQuotas-1000 {
				t.Errorf("refused at %d", n)
			}
			return
		}
	}
	t.Error("there is no end to quotas")
}

func TestQuotaAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.1": "10.0.0.1", "::1": "::1", "::ffff:10.0.0.1": "10.0.0.1", "1": "0.0.0.1", "10.1": "10.0.0.1", "10.1.2": "10.1.0.2", "256": "0.0.1.0",
		"10.0.0.300": "", "localhost": "", "": "", "1.2.3.4.5": "", "-1": "", "4294967296": "", "1..2": "", "fe80::1%eth0": "fe80::1",
	} {
		a, ok := ParseQuotaAddress(text)
		if ok != (want != "") || ok && a.String() != want {
			t.Errorf("%q is read as %v %v, want %q", text, a, ok, want)
		}
	}
}
