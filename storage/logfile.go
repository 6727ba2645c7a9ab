package storage

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"slipstream/protocol"
	"slipstream/ring"
)

// Why a LogFile has no batch at a position.
var (
	// ErrNoBatch: what is there is torn, damaged or empty.
	ErrNoBatch = errNoBatch
	// ErrBatchCRC: a batch is there, and its checksum is wrong.
	ErrBatchCRC = errors.New("the CRC is wrong")
)

// crcPieceBytes: of a larger batch the checksum is computed piece by piece, before there is memory for all of it.
const crcPieceBytes = 1 << 20

// LogFile is a .log file being read from batch to batch by a tool: blocking, for one goroutine at a time, changing
// nothing. What its methods return is good until the next call.
type LogFile struct{ r *logReader }

// OpenLogFile opens a .log, or any other file of batches, as it is now; what is appended later is not seen.
func OpenLogFile(k ring.Files, path string) (*LogFile, error) {
	r, err := openLog(k, path, -1)
	if err != nil {
		return nil, err
	}
	return &LogFile{r}, nil
}

// Distrust has the file read from the disk, as Open reads a log whose appends wait for an fsync: after an fsync that failed the page cache has
// what the disk does not. It is called before anything is read, and fails if the file cannot be synced.
func (l *LogFile) Distrust() error { return l.r.distrust() }

// Size is how many bytes of the file can be a log's: all but what lies behind 2^31-1.
func (l *LogFile) Size() int64 { return l.r.size }

// FileBytes is the file's size.
func (l *LogFile) FileBytes() int64 { return l.r.fileBytes }

// Header is the header of the batch at a position: a batch without records, whose size, format and offsets are
// believable and whose end is within the file. Otherwise it is an error that wraps ErrNoBatch, or one about an
// older format.
func (l *LogFile) Header(position int64) (protocol.Batch, error) { return l.r.header(position) }

// Batch is the whole batch that begins at a position, with the right checksum; ErrBatchCRC if that is wrong. Memory is
// taken for it only when it is right or small.
func (l *LogFile) Batch(position int64) (protocol.Batch, error) {
	h, err := l.r.header(position)
	if err != nil {
		return nil, err
	}
	size := batchBytes(h)
	if size > crcPieceBytes {
		if err := l.checkPieces(position, size, h.CRC()); err != nil {
			return nil, err
		}
	}
	b, err := l.r.view(position, int(size))
	if err != nil {
		return nil, err
	}
	if batch := protocol.Batch(b); batch.ValidCRC() {
		return batch, nil
	}
	return nil, ErrBatchCRC
}

// crcSpan is where in a batch the bytes begin that its checksum covers.
const crcSpan = 21

func (l *LogFile) checkPieces(position, size int64, want uint32) error {
	var sum uint32
	for at := int64(crcSpan); at < size; {
		n := min(size-at, logReaderBytes)
		b, err := l.r.view(position+at, int(n))
		if err != nil {
			return err
		}
		sum = crc32.Update(sum, castagnoli, b)
		at += n
	}
	if sum != want {
		return ErrBatchCRC
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ZeroFrom says whether all bytes from a position on are zeros: room that was made ahead, and nothing written.
func (l *LogFile) ZeroFrom(position int64) bool { return l.r.zeroFrom(position) }

// Close closes the file.
func (l *LogFile) Close() { l.r.close() }

// BatchBytes is the size in the log of the batch that has this header.
func BatchBytes(h protocol.Batch) int64 { return batchBytes(h) }

// FindBatch looks behind damage for where the log goes on: the first whole batch with the right checksum at or behind a
// position whose base offset is in [least, most]. It gives up after looking at maxLookedAt bytes, which include
// those of batches that turned out to be none.
func (l *LogFile) FindBatch(position, least, most int64) (found int64, ok bool) {
	const maxLookedAt = 256 << 20
	budget := int64(maxLookedAt)
	for budget > 0 && l.r.size-position >= protocol.HeaderBytes {
		n := min(l.r.size-position, logReaderBytes)
		b, err := l.r.view(position, int(n))
		if err != nil {
			return 0, false
		}
		last := int64(len(b)) - protocol.HeaderBytes
		candidate := int64(-1)
		for i := int64(0); i <= last; i++ {
			if base := int64(binary.BigEndian.Uint64(b[i:])); base >= least && base <= most && b[i+magicAt] == protocol.CurrentMagic {
				candidate = i
				break
			}
		}
		if candidate < 0 {
			position, budget = position+last+1, budget-n
			continue
		}
		position += candidate
		if h, err := l.r.header(position); err == nil {
			budget -= batchBytes(h)
			if _, err := l.Batch(position); err == nil {
				return position, true
			}
		}
		position, budget = position+1, budget-candidate-protocol.HeaderBytes
	}
	return 0, false
}

// magicAt is where in a batch its format's version is.
const magicAt = 16
