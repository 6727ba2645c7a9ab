package quota

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"slipstream/internal/script"
)

// TestApache holds the arithmetic against what Apache Kafka's quota managers say: the answers in testdata/apache are
// theirs (Recorder.java there says how to make them anew). A script says
//
//	rate BOUND SAMPLES SECONDS        a ClientQuotaManager for bytes; share: for processor time
//	strict BOUND SAMPLES SECONDS      a ControllerMutationQuotaManager; permissive: for old clients
//	MILLIS VALUE                      so much is used then
func TestApache(t *testing.T) {
	script.Play(t, "apache", false, func(t *testing.T) func([]string) string {
		var use func(now int64, value float64) string
		return func(input []string) string {
			var out []string
			for _, line := range input {
				if strings.HasPrefix(line, "#") {
					continue
				}
				w := strings.Fields(line)
				if len(w) == 4 {
					use = startManager(w[0], num(t, w[1]), Shape{int(num(t, w[2])), 1000 * int64(num(t, w[3])), -1})
					out = append(out, line)
					continue
				}
				out = append(out, line+": "+use(1_000_000_000+int64(num(t, w[0])), num(t, w[1])))
			}
			return strings.Join(out, "\n")
		}
	})
}

func startManager(kind string, bound float64, shape Shape) func(int64, float64) string {
	var account Account
	var bucket Bucket
	account.AtHome(new(Home))
	return func(now int64, value float64) string {
		switch kind {
		case "strict":
			if ok, wait := bucket.TryTake(shape, bound, now, value); !ok {
				return fmt.Sprintf("refused, wait %d", wait)
			}
			return "wait 0"
		case "permissive":
			return fmt.Sprintf("wait %d", bucket.Take(shape, bound, now, value))
		}
		account.Record(shape, now, bound, value)
		wait := account.Delay(shape, now, bound)
		if kind == "share" {
			wait = min(wait, MaxRequestDelay(shape))
		}
		return fmt.Sprintf("wait %d", wait)
	}
}

func num(t *testing.T, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
