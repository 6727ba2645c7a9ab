package logtool

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"

	"slipstream/internal/metadata"
	"slipstream/protocol"
	"slipstream/ring"
	"slipstream/storage"
)

// DumpOptions say how much Dump shows.
type DumpOptions struct {
	Records bool // the records of each batch too, decoded where they are the broker's own
}

// dumper walks over files.
type dumper struct {
	k       ring.Files
	o       DumpOptions
	emit    func(Item) error
	scratch protocol.Scratch
}

// Dump calls emit with what is in a file, a partition's directory or a data directory, in the order of the files' names. What
// cannot be read is an item too, of the kind problem; the error is emit's, or says that path cannot be opened.
func Dump(k ring.Files, path string, o DumpOptions, emit func(Item) error) error {
	d := &dumper{k: k, o: o, emit: emit}
	info, err := k.Stat(path)
	if err != nil {
		return err
	}
	if info.Dir {
		return d.dir(path)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	ok, err := d.file(path, filepath.Base(filepath.Dir(abs)))
	if err == nil && !ok {
		err = fmt.Errorf("%s is no file of a log that is known by its name", path)
	}
	return err
}

func (d *dumper) dir(path string) error {
	entries, err := d.k.ReadDir(path)
	if err != nil {
		return err
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		inside := filepath.Join(path, e.Name)
		if !e.Dir {
			if _, err := d.file(inside, filepath.Base(abs)); err != nil {
				return err
			}
		} else if _, _, kind := storage.ParseDirName(e.Name); kind == storage.DirPartition {
			if err := d.dir(inside); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *dumper) problem(path string, position int64, err error) error {
	fields := []Field{{"file", path}}
	if position >= 0 {
		fields = append(fields, Field{"position", position})
	}
	return d.emit(item("problem", append(fields, Field{"why", err.Error()})...))
}

// file shows a file; ok is false if its name says nothing.
func (d *dumper) file(path, dirName string) (ok bool, err error) {
	name := filepath.Base(path)
	for _, s := range []string{".deleted", ".cleaned", ".swap"} { // files on their way in or out
		name = strings.TrimSuffix(name, s)
	}
	base, suffix, numbered := storage.ParseFileName(name)
	var show func() error
	switch {
	case numbered && suffix == ".log", strings.HasSuffix(name, ".checkpoint"):
		topic, _, _ := storage.ParseDirName(dirName)
		if strings.HasSuffix(name, ".checkpoint") {
			topic = metadata.MetadataTopic
		}
		show = func() error { return d.log(path, topic) }
	case numbered && (suffix == ".index" || suffix == ".timeindex" || suffix == ".txnindex" || suffix == ".snapshot"):
		show = func() error { return d.entries(path, base, suffix) }
	case name == epochFile:
		show = func() error { return d.epochs(path) }
	case isOffsetFile(name):
		show = func() error { return d.offsets(path) }
	case name == topicIDFile, name == propertyFile, name == cleanShutdown, name == "quorum-state":
		show = func() error { return d.lines(path) }
	default:
		return false, nil
	}
	if err := d.emit(item("file", Field{"file", path})); err != nil {
		return true, err
	}
	return true, show()
}

func isOffsetFile(name string) bool {
	for _, f := range offsetFiles {
		if f == name {
			return true
		}
	}
	return false
}

// log shows batches until there are no more.
func (d *dumper) log(path, topic string) error {
	f, err := storage.OpenLogFile(d.k, path)
	if err != nil {
		return d.problem(path, -1, err)
	}
	defer f.Close()
	for position := int64(0); position < f.Size(); {
		h, err := f.Header(position)
		if err != nil {
			if f.ZeroFrom(position) {
				err = fmt.Errorf("%d bytes of zeros follow the last batch", f.Size()-position)
			}
			return d.problem(path, position, err)
		}
		size := storage.BatchBytes(h)
		b, err := f.Batch(position)
		if err != nil && !errors.Is(err, storage.ErrBatchCRC) {
			return d.problem(path, position, err)
		}
		if err != nil {
			if h, err = f.Header(position); err != nil { // the view that it had is gone
				return d.problem(path, position, err)
			}
			if err := d.emit(batchItem(h, position, false)); err != nil {
				return err
			}
		} else if err := d.batch(path, topic, b, position); err != nil {
			return err
		}
		position += size
	}
	return nil
}

func batchItem(b protocol.Batch, position int64, valid bool) Item {
	fields := []Field{
		{"baseOffset", b.BaseOffset()}, {"lastOffset", b.LastOffset()}, {"count", b.Count()},
		{"baseSequence", b.BaseSequence()}, {"lastSequence", b.LastSequence()}, {"producerId", b.ProducerID()}, {"producerEpoch", b.ProducerEpoch()},
		{"partitionLeaderEpoch", b.LeaderEpoch()}, {"isTransactional", b.IsTransactional()}, {"isControl", b.IsControl()},
	}
	kind := "CreateTime"
	if b.TimestampType() == protocol.LogAppendTime {
		kind = "LogAppendTime"
	}
	if b.HasDeleteHorizon() {
		fields = append(fields, Field{"deleteHorizonMs", b.BaseTimestamp()})
	}
	fields = append(fields, Field{"position", position}, Field{"timestampType", kind}, Field{"maxTimestamp", b.MaxTimestamp()}, Field{"size", storage.BatchBytes(b)},
		Field{"magic", b.Magic()}, Field{"compression", b.Codec().String()}, Field{"crc", b.CRC()}, Field{"valid", valid})
	return item("batch", fields...)
}

func (d *dumper) batch(path, topic string, b protocol.Batch, position int64) error {
	if err := d.emit(batchItem(b, position, true)); err != nil || !d.o.Records {
		return err
	}
	var it protocol.Records
	var r protocol.Record
	it.Open(b, &d.scratch)
	defer it.Close()
	for it.Next(&r) {
		if err := d.emit(recordItem(topic, b.IsControl(), &r)); err != nil {
			return err
		}
	}
	if it.Err() != nil {
		return d.problem(path, position, it.Err())
	}
	return nil
}

func recordItem(topic string, isControl bool, r *protocol.Record) Item {
	fields := []Field{{"offset", r.Offset}, {"timestamp", r.Timestamp}, {"keySize", sizeOf(r.Key)}, {"valueSize", sizeOf(r.Value)}}
	var said []Field
	var err error
	if isControl {
		said, err = control(r)
	} else {
		said, err = decode(topic, r)
	}
	switch {
	case err != nil:
		fields = append(fields, Field{"undecodable", err.Error()}, Field{"key", r.Key}, Field{"value", r.Value})
	case said != nil:
		fields = append(fields, said...)
	default:
		fields = append(fields, Field{"key", r.Key}, Field{"value", r.Value})
	}
	for _, h := range r.Headers {
		fields = append(fields, Field{"header." + string(h.Key), h.Value})
	}
	return item("record", fields...)
}

// sizeOf is -1 for null, as Kafka prints it.
func sizeOf(b []byte) int {
	if b == nil {
		return -1
	}
	return len(b)
}

// entries shows the files of fixed entries.
func (d *dumper) entries(path string, base int64, suffix string) error {
	b, err := readWhole(d.k, path)
	if err != nil {
		return d.problem(path, -1, err)
	}
	items, zeros, err := entryItems(b, base, suffix)
	if err != nil {
		return d.problem(path, -1, err)
	}
	for _, it := range items {
		if err := d.emit(it); err != nil {
			return err
		}
	}
	if zeros > 0 {
		return d.problem(path, int64(len(b)-zeros), fmt.Errorf("%d bytes of zeros follow the last entry", zeros))
	}
	return nil
}

func entryItems(b []byte, base int64, suffix string) (items []Item, zeros int, err error) {
	switch suffix {
	case ".index":
		list, n, err := storage.DecodeIndex(b)
		for _, e := range list {
			items = append(items, item("index", Field{"offset", base + int64(e.Relative)}, Field{"position", e.Position}))
		}
		return items, n, err
	case ".timeindex":
		list, n, err := storage.DecodeTimeIndex(b)
		for _, e := range list {
			items = append(items, item("timeindex", Field{"timestamp", e.Timestamp}, Field{"offset", base + int64(e.Relative)}))
		}
		return items, n, err
	case ".txnindex":
		list, err := storage.DecodeAborted(b, base, math.MaxInt64)
		for _, e := range list {
			items = append(items, item("aborted", Field{"producerId", e.ProducerID}, Field{"firstOffset", e.FirstOffset},
				Field{"lastOffset", e.LastOffset}, Field{"lastStableOffset", e.LastStableOffset}))
		}
		return items, 0, err
	}
	list, err := storage.DecodeSnapshot(b)
	for _, e := range list {
		items = append(items, item("producer", Field{"producerId", e.ProducerID}, Field{"producerEpoch", e.Epoch}, Field{"lastSequence", e.LastSequence},
			Field{"lastOffset", e.LastOffset}, Field{"offsetDelta", e.OffsetDelta}, Field{"timestamp", e.Timestamp},
			Field{"coordinatorEpoch", e.CoordinatorEpoch}, Field{"currentTxnFirstOffset", e.TxnFirstOffset}))
	}
	return items, 0, err
}

func (d *dumper) epochs(path string) error {
	b, err := readWhole(d.k, path)
	if err != nil {
		return d.problem(path, -1, err)
	}
	list, err := storage.DecodeEpochs(b)
	if err != nil {
		return d.problem(path, -1, err)
	}
	for _, e := range list {
		if err := d.emit(item("epoch", Field{"epoch", e.Epoch}, Field{"startOffset", e.StartOffset})); err != nil {
			return err
		}
	}
	return nil
}

func (d *dumper) offsets(path string) error {
	b, err := readWhole(d.k, path)
	if err != nil {
		return d.problem(path, -1, err)
	}
	list, err := storage.DecodeOffsets(b)
	if err != nil {
		return d.problem(path, -1, err)
	}
	for _, e := range list {
		if err := d.emit(item("offset", Field{"topic", e.Topic}, Field{"partition", e.Partition}, Field{"offset", e.Offset})); err != nil {
			return err
		}
	}
	return nil
}

// lines shows a text file.
func (d *dumper) lines(path string) error {
	b, err := readWhole(d.k, path)
	if err != nil {
		return d.problem(path, -1, err)
	}
	for line := range strings.Lines(string(b)) {
		if err := d.emit(item("line", Field{"text", strings.TrimRight(line, "\r\n")})); err != nil {
			return err
		}
	}
	return nil
}
