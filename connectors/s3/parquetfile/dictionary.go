package parquetfile

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"

	"github.com/parquet-go/parquet-go/format"
)

// Limits of dictionaries.
const (
	maxDictionary = 1 << 20 // bytes, as parquet-mr's
	sampleSize    = 4096    // after so many values of a chunk a dictionary must pay
)

var seed = maphash.MakeSeed()

// dictionary numbers the distinct values of a chunk in the order in which they came.
type dictionary struct {
	fixed []uint64 // entries of all types but byte arrays
	data  []byte   // entries of byte arrays, one after the other
	ends  []uint32
	hash  []uint32 // of each entry of data
	seen  []uint32 // the last page that each entry was on
	table []uint32 // open addressing: entry+1, 0 for a free place
	shift uint8    // 64 - log2(len(table))
}

func (d *dictionary) len() int { return max(len(d.fixed), len(d.ends)) }

func (d *dictionary) size() int64 {
	return int64(8*len(d.fixed) + len(d.data) + 8*len(d.ends) + 4*len(d.seen))
}

// plainSize is the size of the dictionary page.
func (d *dictionary) plainSize(t format.Type) int {
	if t == format.ByteArray {
		return len(d.data) + 4*len(d.ends)
	}
	return len(d.fixed) * width(t)
}

func (d *dictionary) reset() {
	if d.len() > 0 {
		clear(d.table)
	}
	d.fixed, d.data, d.ends, d.hash, d.seen = d.fixed[:0], d.data[:0], d.ends[:0], d.hash[:0], d.seen[:0]
}

func (d *dictionary) trim() {
	if len(d.table) > 1<<14 {
		*d = dictionary{}
	}
}

// grow makes room for one more entry.
func (d *dictionary) grow() {
	if n := d.len(); 2*(n+1) <= len(d.table) {
		return
	}
	size := max(64, 2*len(d.table))
	d.table = make([]uint32, size)
	d.shift = 64
	for s := size; s > 1; s >>= 1 {
		d.shift--
	}
	for i, v := range d.fixed {
		d.place(hashFixed(v)>>d.shift, uint32(i))
	}
	for i, h := range d.hash {
		d.place(spread(h)>>d.shift, uint32(i))
	}
}

func (d *dictionary) place(at uint64, id uint32) {
	mask := uint64(len(d.table) - 1)
	for d.table[at&mask] != 0 {
		at++
	}
	d.table[at&mask] = id + 1
}

func hashFixed(v uint64) uint64 {
	v ^= v >> 29
	v *= 0x9e3779b97f4a7c15
	return v ^ v>>32*0x2545f4914f6cdd1d
}

// spread turns the 32 bits of a hash that an entry keeps into a place.
func spread(h uint32) uint64 { return uint64(h) << 32 }

// entry returns a byte array entry.
func (d *dictionary) entry(id uint32) []byte {
	var from uint32
	if id > 0 {
		from = d.ends[id-1]
	}
	return d.data[from:d.ends[id]]
}

// addFixed returns the entry of v.
func (d *dictionary) addFixed(v uint64) uint32 {
	d.grow()
	mask := uint64(len(d.table) - 1)
	for at := hashFixed(v) >> d.shift; ; at++ {
		id := d.table[at&mask]
		if id == 0 {
			n := uint32(len(d.fixed))
			d.table[at&mask] = n + 1
			d.fixed, d.seen = append(d.fixed, v), append(d.seen, 0)
			return n
		}
		if d.fixed[id-1] == v {
			return id - 1
		}
	}
}

// addBytes returns the entry of v.
func (d *dictionary) addBytes(v []byte) uint32 {
	d.grow()
	h := uint32(maphash.Bytes(seed, v))
	mask := uint64(len(d.table) - 1)
	for at := spread(h) >> d.shift; ; at++ {
		id := d.table[at&mask]
		if id == 0 {
			n := uint32(len(d.ends))
			d.table[at&mask] = n + 1
			d.data = append(d.data, v...)
			d.ends, d.hash, d.seen = append(d.ends, uint32(len(d.data))), append(d.hash, h), append(d.seen, 0)
			return n
		}
		if d.hash[id-1] == h && bytes.Equal(d.entry(id-1), v) {
			return id - 1
		}
	}
}

// appendPlain writes the entries as the dictionary page holds them.
func (d *dictionary) appendPlain(dst []byte, t format.Type) []byte {
	if t == format.ByteArray {
		return appendPlainBytes(dst, d.data, d.ends)
	}
	return appendPlainFixed(dst, t, d.fixed)
}

func appendPlainBytes(dst, data []byte, ends []uint32) []byte {
	var from uint32
	for _, end := range ends {
		dst = binary.LittleEndian.AppendUint32(dst, end-from)
		dst = append(dst, data[from:end]...)
		from = end
	}
	return dst
}

func appendPlainFixed(dst []byte, t format.Type, vs []uint64) []byte {
	switch {
	case t == format.Boolean:
		var acc byte
		for i, v := range vs {
			acc |= byte(v&1) << (i & 7)
			if i&7 == 7 {
				dst, acc = append(dst, acc), 0
			}
		}
		if len(vs)&7 != 0 {
			dst = append(dst, acc)
		}
	case width(t) == 4:
		for _, v := range vs {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(v))
		}
	default:
		for _, v := range vs {
			dst = binary.LittleEndian.AppendUint64(dst, v)
		}
	}
	return dst
}
