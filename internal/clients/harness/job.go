package harness

import (
	"fmt"
	"time"
)

// Job is the main job once: one producer, one codec, all of the corpus, read back by every consumer.
type Job struct {
	Addr, Topic     string
	Producer, Codec string // "kcat" or "kgo"; one of Codecs
	Corpus          *Corpus
	KcatInput       []string // of the same corpus
	JavaPartitions  int      // how many partitions the Java console consumer reads too
}

// Step is one thing a job did. Err says what was not byte for byte as it should be.
type Step struct {
	What  string
	Took  time.Duration
	Bytes int64
	Lines int
	Err   error
}

func (s Step) String() string {
	rate := float64(s.Bytes) / s.Took.Seconds() / 1e6
	return fmt.Sprintf("%-28s %9d lines %6.2f s %7.1f MB/s", s.What, s.Lines, s.Took.Seconds(), rate)
}

// Run creates the topic, produces and reads back. It stops at the first failed step.
func (j *Job) Run() []Step {
	var steps []Step
	do := func(what string, lines int, bytes int64, f func() error) bool {
		start := time.Now()
		err := f()
		steps = append(steps, Step{What: what, Took: time.Since(start), Bytes: bytes, Lines: lines, Err: err})
		return err == nil
	}
	c := j.Corpus
	create := func() error {
		return CreateTopic(j.Addr, j.Topic, len(c.Partitions), "max.message.bytes", fmt.Sprint(MaxMessageBytes))
	}
	ok := do("create "+j.Topic, 0, 0, create) &&
		do("produced by "+j.Producer, c.Lines, c.Bytes, j.produce) &&
		do("read by kcat", c.Lines, c.Bytes, j.readKcat) &&
		do("read by kgo", c.Lines, c.Bytes, j.readKgo)
	for p := 0; ok && p < j.JavaPartitions; p++ {
		part := &c.Partitions[p]
		ok = do(fmt.Sprintf("read by Java, partition %d", p), part.Lines, int64(len(part.Data)), func() error {
			sum, lines, err := JavaConsume(j.Addr, j.Topic, p, part.Lines)
			return part.check("Java's console consumer", p, sum, lines, err)
		})
	}
	return steps
}

func (j *Job) produce() error {
	if j.Producer == "kgo" {
		return KgoProduce(j.Addr, j.Topic, j.Codec, j.Corpus)
	}
	return inParallel(len(j.Corpus.Partitions), func(p int) error {
		return KcatProduce(j.Addr, j.Topic, p, j.Codec, j.KcatInput[p])
	})
}

func (j *Job) readKcat() error {
	return inParallel(len(j.Corpus.Partitions), func(p int) error {
		sum, lines, err := KcatConsume(j.Addr, j.Topic, p)
		return j.Corpus.Partitions[p].check("kcat", p, sum, lines, err)
	})
}

func (j *Job) readKgo() error {
	return inParallel(len(j.Corpus.Partitions), func(p int) error {
		part := &j.Corpus.Partitions[p]
		sum, err := KgoConsume(j.Addr, j.Topic, j.Codec, p, part.Lines)
		return part.check("kgo", p, sum, part.Lines, err)
	})
}

func (p *Part) check(who string, partition int, sum [32]byte, lines int, err error) error {
	switch {
	case err != nil:
		return err
	case lines != p.Lines:
		return fmt.Errorf("partition %d: %s read %d lines of %d", partition, who, lines, p.Lines)
	case sum != p.Sum:
		return fmt.Errorf("partition %d: %s read bytes with SHA-256 %x, produced were %x", partition, who, sum, p.Sum)
	}
	return nil
}

// inParallel calls f(0) to f(n-1), all at once, and returns one of their errors.
func inParallel(n int, f func(i int) error) error {
	errs := make(chan error, n)
	for i := range n {
		go func() { errs <- f(i) }()
	}
	var failed error
	for range n {
		if err := <-errs; err != nil {
			failed = err
		}
	}
	return failed
}
