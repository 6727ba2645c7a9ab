package clients

import (
	"encoding/json"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"slipstream/internal/clients/crash"
	"slipstream/internal/clients/harness"
	"slipstream/internal/logtool"
)

// TestKillMixed kills one broker, on one data directory, at drawn moments: of a load of everything that writes to logs (internal/clients/crash),
// and of its start. `slipstream log verify` is clean each time: as the kill left the directory it has nothing but notes, of
// what lies behind the recovery point and the next start puts right; after a stop it has not even those
// (but deleted files that wait to be removed). Every start is held
// against the ledger of what was acknowledged: kill -9 takes nothing of it, whether it was synced or not.
//
// SLIPSTREAM_KILL_ROUNDS is the number of kills, 4 if not set; SLIPSTREAM_KILL_SEED repeats their moments, though not
// the machine's. SLIPSTREAM_KILL_DIR keeps the directory there.
func TestKillMixed(t *testing.T) {
	harness.SlipstreamOnly(t)
	rounds := 4
	if n, err := strconv.Atoi(os.Getenv("SLIPSTREAM_KILL_ROUNDS")); err == nil {
		rounds = n
	} else if testing.Short() {
		rounds = 2
	}
	k := newMixedKills(t)
	begun := time.Now()
	for round := range rounds {
		k.round(round, round%20 == 19 || round == rounds-1)
		if t.Failed() {
			t.Fatalf("round %d of %d; the directory is %s", round, rounds, k.keep())
		}
		if round%20 == 19 {
			t.Logf("%d rounds: %d records acknowledged, %d transactions committed", round+1, k.ledger.Counts().Acknowledged, k.ledger.Counts().Committed)
		}
	}
	harness.StopT(t, k.b)
	k.verify("after the last stop", true)
	c := k.ledger.Counts()
	t.Logf("%d rounds in %v, %d of them also killed while starting, %d stopped and verified in between; slowest start %v", rounds, time.Since(begun).Round(time.Second), k.duringStart, k.stops, k.slowest.Round(time.Millisecond))
	t.Logf("%+v", c)
	t.Logf("notes of verify after kills: %v", k.notes)
	if c.Acknowledged == 0 || c.Committed == 0 || rounds >= 20 && (c.Aborted == 0 || c.Commits == 0 || c.Trimmed == 0 || c.Settings == 0 || c.Compacted == 0 || c.SentAgain == 0 || c.TopicsDeleted == 0) {
		t.Errorf("something was not tried: %+v", c)
	}
}

var anyNumber = regexp.MustCompile(`[0-9]+`)

// mixedKills is a broker that is killed, and its account.
type mixedKills struct {
	t           *testing.T
	rng         *rand.Rand
	b           *harness.Broker
	ledger      *crash.Ledger
	duringStart int
	stops       int
	slowest     time.Duration
	notes       map[string]int
}

func newMixedKills(t *testing.T) *mixedKills {
	t.Helper()
	seed := time.Now().UnixNano()
	if n, err := strconv.ParseInt(os.Getenv("SLIPSTREAM_KILL_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("seed %d", seed)
	k := &mixedKills{t: t, rng: rand.New(rand.NewSource(seed)), notes: map[string]int{}, ledger: crash.New(crash.Options{Seed: seed, PerSecond: 400})}
	k.b = harness.StartT(t, harness.Options{Set: crash.BrokerSettings(), DataDir: os.Getenv("SLIPSTREAM_KILL_DIR")})
	harness.Need(t, k.ledger.Setup(k.b.Addr))
	return k
}

// round is a load, a kill, and everything that is looked at afterwards.
func (k *mixedKills) round(n int, whole bool) {
	k.t.Helper()
	load := k.ledger.Load(k.b.Addr)
	time.Sleep(time.Duration(k.rng.Intn(1500)) * time.Millisecond)
	k.b.Kill()
	load.Stop()
	k.verify("as the kill left it", false)
	for k.rng.Intn(3) == 0 {
		k.killWhileStarting()
	}
	k.b = harness.RestartT(k.t, k.b)
	k.slowest = max(k.slowest, k.b.ReadyIn)
	for _, f := range k.ledger.Check(k.b.Addr, whole) {
		k.t.Errorf("round %d: %s", n, f)
	}
	if k.rng.Intn(3) == 0 || whole {
		harness.StopT(k.t, k.b)
		k.stops++
		k.verify("after a stop", true)
		k.b = harness.RestartT(k.t, k.b)
	}
}

// killWhileStarting kills a broker at some moment before or shortly after it listens.
func (k *mixedKills) killWhileStarting() {
	k.t.Helper()
	k.duringStart++
	bin, err := harness.Binary()
	harness.Need(k.t, err)
	args := []string{"serve", "--data-dir", k.b.DataDir, "--listen", k.b.Addr}
	for _, s := range crash.BrokerSettings() {
		args = append(args, "--set", s)
	}
	cmd := exec.Command(bin, args...)
	harness.Need(k.t, cmd.Start())
	time.Sleep(time.Duration(k.rng.Intn(200)) * time.Millisecond)
	harness.Need(k.t, cmd.Process.Kill())
	_ = cmd.Wait() // it was killed, and says so
	k.verify("as a kill during the start left it", false)
}

// verify runs `slipstream log verify`. clean: without a note.
func (k *mixedKills) verify(when string, clean bool) {
	k.t.Helper()
	bin, err := harness.Binary()
	harness.Need(k.t, err)
	out, err := exec.Command(bin, "log", "verify", "--json", k.b.DataDir).Output()
	var r logtool.Report
	if e := json.Unmarshal(out, &r); e != nil {
		k.t.Fatalf("log verify %s: %v, %v: %s", when, err, e, out)
	}
	if err != nil || r.Damaged() > 0 || clean && !r.Clean {
		k.t.Errorf("log verify %s: %v, a clean stop: %v", when, err, r.Clean)
	}
	for _, p := range r.Problems {
		if !p.Note || clean && p.Kind != logtool.KindLeftover { // files wait for file.delete.delay.ms over a stop too
			k.t.Errorf("log verify %s: %v", when, p)
		}
		k.notes[anyNumber.ReplaceAllString(p.Why, "N")]++
	}
}

// keep copies the directory to where it survives the test.
func (k *mixedKills) keep() string {
	if k.b.Running() {
		k.b.Kill()
	}
	dir, err := os.MkdirTemp("", "slipstream-killed-")
	if err == nil {
		err = harness.CopyDir(filepath.Join(dir, "data"), k.b.DataDir)
	}
	if err != nil {
		return err.Error()
	}
	return dir
}
