package main

import (
	"errors"
	"fmt"
	"math/rand"
	"os"
	"sync"
)

// disk is a block device with a volatile write cache, served to the guest over NBD. What the guest writes is read back by
// it at once, and is in the image only after a flush that was asked for later than the write was answered. At a power cut
// each write that no flush has covered is drawn to be kept, dropped, or torn, independently of the others, as a disk that
// reorders its cache would have it.
type disk struct {
	image *os.File
	size  int64
	tear  int64 // bytes that are written whole or not at all

	mu      sync.Mutex
	cache   []write          // not flushed yet, in the order of their arrival
	newest  map[int64][]byte // by sector: what a read of it finds, where that is in the cache
	off     bool             // the power is off: nothing more is taken
	flushes int64
	forgets bool // flushes are answered and do nothing: a disk that lies, to show that the driver notices
}

// write is one request of the guest.
type write struct {
	at    int64
	data  []byte
	force bool // FUA: it is in the image already, and what came before it may not come after
}

const sectorBytes = 512

func openDisk(path string, tear int64) (*disk, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &disk{image: f, size: info.Size(), tear: tear, newest: map[int64][]byte{}}, nil
}

// read fills b, whole sectors, from an offset on, the cache's contents first.
func (d *disk) read(b []byte, at int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at%sectorBytes != 0 || len(b)%sectorBytes != 0 {
		return fmt.Errorf("a read of %d bytes at %d", len(b), at)
	}
	if _, err := d.image.ReadAt(b, at); err != nil {
		return err
	}
	for o := int64(0); o < int64(len(b)); o += sectorBytes {
		if text := d.newest[(at+o)/sectorBytes]; text != nil {
			copy(b[o:], text)
		}
	}
	return nil
}

// write takes a write into the cache, and force into the image too. d keeps data, which is whole sectors.
func (d *disk) write(data []byte, at int64, force bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return errors.New("the power is off")
	}
	if at%sectorBytes != 0 || int64(len(data))%sectorBytes != 0 || at+int64(len(data)) > d.size {
		return fmt.Errorf("a write of %d bytes at %d", len(data), at)
	}
	d.cache = append(d.cache, write{at, data, force})
	for o := int64(0); o < int64(len(data)); o += sectorBytes {
		d.newest[(at+o)/sectorBytes] = data[o : o+sectorBytes]
	}
	if !force || d.forgets {
		return nil
	}
	_, err := d.image.WriteAt(data, at)
	return err
}

// flush makes everything in the cache durable.
func (d *disk) flush() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return errors.New("the power is off")
	}
	d.flushes++
	if d.forgets {
		return nil
	}
	for _, w := range d.cache {
		if _, err := d.image.WriteAt(w.data, w.at); err != nil {
			return err
		}
	}
	d.cache = nil
	clear(d.newest)
	return nil
}

// writeTorn writes a drawn part of a write.
func (d *disk) writeTorn(w write, rng *rand.Rand) error {
	for o := int64(0); o < int64(len(w.data)); {
		n := min(d.tear-(w.at+o)%d.tear, int64(len(w.data))-o)
		if rng.Intn(2) == 0 {
			if _, err := d.image.WriteAt(w.data[o:o+n], w.at+o); err != nil {
				return err
			}
		}
		o += n
	}
	return nil
}

// cutCounts are what became of the writes that no flush had covered.
type cutCounts struct{ kept, dropped, torn int }

// cut takes the power away and draws what became of the cache: how much of it survives is drawn first, so that both ends
// come up often.
func (d *disk) cut(rng *rand.Rand) (c cutCounts, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
	survives := [...]float64{0, 0.1, 0.5, 0.9, 1}[rng.Intn(5)]
	for _, w := range d.cache {
		switch {
		case w.force && !d.forgets, rng.Float64() < survives:
			c.kept++
			_, err = d.image.WriteAt(w.data, w.at)
		case int64(len(w.data)) > d.tear && rng.Intn(3) == 0:
			c.torn++
			err = d.writeTorn(w, rng)
		default:
			c.dropped++
		}
		if err != nil {
			break
		}
	}
	d.cache = nil
	clear(d.newest)
	return c, errors.Join(err, d.image.Close())
}
