package guarantees

import "fmt"

// Input is a record that a pipeline of consume, transform and produce reads.
type Input struct {
	Partition Partition
	Offset    int64
}

// Pipeline checks exactly-once processing over partitions and offsets: of each
// input record below its partition's committed offset there is one output record
// that can be read, of each other there is none. That is what it means that a
// transaction is atomic over both. outputs counts, for each input, the outputs read.
func Pipeline(inputs []Input, committed map[Partition]int64, outputs map[Input]int) error {
	known := map[Input]bool{}
	for _, in := range inputs {
		known[in] = true
		want := 0
		if in.Offset < committed[in.Partition] {
			want = 1
		}
		if got := outputs[in]; got != want {
			return fmt.Errorf("of offset %d of %s-%d %d outputs can be read; offset %d is committed", in.Offset, in.Partition.Topic, in.Partition.Number, got, committed[in.Partition])
		}
	}
	for out := range outputs {
		if !known[out] {
			return fmt.Errorf("an output says that it was made of offset %d of %s-%d, where nothing can be read", out.Offset, out.Partition.Topic, out.Partition.Number)
		}
	}
	return nil
}
