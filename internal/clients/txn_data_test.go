package clients

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// at is a script without a record, to speak to a broker with.
func at(t *testing.T, b *harness.Broker) *script {
	t.Helper()
	s := &script{t: t, b: b, norm: newNormaliser(b.Addr)}
	s.dial()
	t.Cleanup(func() { s.w.Close() })
	return s
}

// state is what a transactional id's coordinator says of it.
func (s *script) state(id string) kmsg.DescribeTransactionsResponseTransactionState {
	s.t.Helper()
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{id}
	resp := s.must(0, req, func(r kmsg.Response) int16 {
		return r.(*kmsg.DescribeTransactionsResponse).TransactionStates[0].ErrorCode
	})
	return resp.(*kmsg.DescribeTransactionsResponse).TransactionStates[0]
}

// stable is the last stable offset of partition 0.
func (s *script) stable(topic string) int64 {
	s.t.Helper()
	req := listOffsets(topic, -1, -1, 0)
	req.IsolationLevel = 1
	resp := s.must(7, req, func(r kmsg.Response) int16 { return responsePartition(r).ErrorCode })
	return responsePartition(resp).Offset
}

// on is the same producer at another broker.
func (x *transactor) on(s *script) *transactor {
	moved := *x
	moved.s = s
	return &moved
}

// kafkaReadsTransactions has DumpLogSegments decode __transaction_state and the files that storage keeps of a topic's transactions.
func kafkaReadsTransactions(t *testing.T, dir, topic string) {
	t.Helper()
	dump := func(option, pattern string) string {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", pattern, files, err)
		}
		r, err := harness.Tool(nil, harness.DumpLogSegments, option, "--files", strings.Join(files, ","))
		harness.Need(t, err)
		out, errs := r.Out, r.Errors
		for _, bad := range []string{"Exception", "Could not", "Failed to decode", "isvalid: false"} {
			if strings.Contains(out+errs, bad) {
				t.Errorf("DumpLogSegments of %s says %q:\n%s%s", pattern, bad, out, errs)
			}
		}
		return out
	}
	out := dump("--transaction-log-decoder", "__transaction_state-*/*.log")
	for _, want := range []string{
		`"transactionalId":"first"\}\} payload: \{"version":"1","data":\{"producerId":\d+,("previousProducerId":\d+,)?"producerEpoch":\d+,"transactionTimeoutMs":900000,"transactionStatus":4,"transactionPartitions":\[\]`,
		`"transactionalId":"second"\}\} payload: \{"version":"1","data":\{"producerId":\d+,("previousProducerId":\d+,)?"producerEpoch":\d+,"transactionTimeoutMs":900000,"transactionStatus":1,"transactionPartitions":\[\{"topic":"` + topic + `","partitionIds":\[0\]`,
		`"transactionalId":"third"\}\} payload: \{"version":"1","data":\{"producerId":\d+,("previousProducerId":\d+,)?"producerEpoch":\d+,"transactionTimeoutMs":900000,"transactionStatus":1,.*"clientTransactionVersion":2`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("DumpLogSegments shows no %s in\n%.6000s", want, out)
		}
	}
	out = dump("--deep-iteration", topic+"-0/*.snapshot")
	if n := len(regexp.MustCompile(`producerId: \d+ producerEpoch: \d+ coordinatorEpoch: \d+ currentTxnFirstOffset: Optional`).FindAllString(out, -1)); n < 2 {
		t.Errorf("the snapshot shows %d open transactions, want 2:\n%s", n, out)
	}
	out = dump("--deep-iteration", topic+"-0/*.txnindex")
	if n := strings.Count(out, "lastStableOffset: "); n != 2 {
		t.Errorf("the index shows %d aborted transactions, want 2:\n%s", n, fmt.Sprintf("%.2000s", out))
	}
}
