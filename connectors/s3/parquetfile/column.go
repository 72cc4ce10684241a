package parquetfile

import "github.com/parquet-go/parquet-go/format"

// Leaf describes a column.
type Leaf struct {
	Type           format.Type // Boolean, Int32, Int64, Float, Double or ByteArray
	Order          Order
	Path           []string
	MaxDef, MaxRep uint8 // levels; a value's own definition level is MaxDef
}

// Column takes the values of one column. Its methods copy what they are given.
type Column struct {
	leaf Leaf

	// The open page.
	n     int      // entries, null or not
	defs  []uint8  // one an entry, when the column can be null
	reps  []uint8  // one an entry, when it can repeat
	fixed []uint64 // values of all types but byte arrays, in their low bits
	data  []byte   // values of byte arrays, one after the other
	ends  []uint32 // where each ends in data

	chunk chunk
}

// Null adds an absent value. def tells how much of its path is there.
func (c *Column) Null(rep, def uint8) {
	c.n++
	c.defs = append(c.defs, def)
	if c.leaf.MaxRep > 0 {
		c.reps = append(c.reps, rep)
	}
}

// Fixed adds a number or boolean: an integer's low bits, the IEEE 754 bits of a float, 1 for true.
func (c *Column) Fixed(rep uint8, bits uint64) {
	c.present(rep)
	c.fixed = append(c.fixed, bits)
}

// Bytes adds a byte array.
func (c *Column) Bytes(rep uint8, b []byte) {
	c.present(rep)
	c.data = append(c.data, b...)
	c.ends = append(c.ends, uint32(len(c.data)))
}

func (c *Column) present(rep uint8) {
	c.n++
	if c.leaf.MaxDef > 0 {
		c.defs = append(c.defs, c.leaf.MaxDef)
	}
	if c.leaf.MaxRep > 0 {
		c.reps = append(c.reps, rep)
	}
}

// rows counts the rows of the open page.
func (c *Column) rows() int {
	if c.leaf.MaxRep == 0 {
		return c.n
	}
	n := 0
	for _, r := range c.reps {
		if r == 0 {
			n++
		}
	}
	return n
}

// values counts the values that are there in the open page.
func (c *Column) values() int {
	if c.leaf.Type == format.ByteArray {
		return len(c.ends)
	}
	return len(c.fixed)
}

// rawSize is the size of the open page's values in plain form.
func (c *Column) rawSize() int {
	if c.leaf.Type == format.ByteArray {
		return len(c.data) + 4*len(c.ends)
	}
	return len(c.fixed) * width(c.leaf.Type)
}

// width is the size of a value of a type in plain form; a boolean's is rounded up.
func width(t format.Type) int {
	switch t {
	case format.Boolean:
		return 1
	case format.Int32, format.Float:
		return 4
	}
	return 8
}

// held is the memory in use for what is not written yet.
func (c *Column) held() int64 {
	return int64(len(c.defs)+len(c.reps)+8*len(c.fixed)+len(c.data)+4*len(c.ends)+len(c.chunk.pages)) + c.chunk.dict.size()
}

// cut drops rows from the end of the open page until n are left.
func (c *Column) cut(n int) {
	for drop := c.rows() - n; drop > 0; {
		c.n--
		value := true
		if c.leaf.MaxDef > 0 {
			value = c.defs[c.n] == c.leaf.MaxDef
			c.defs = c.defs[:c.n]
		}
		if value {
			if c.leaf.Type == format.ByteArray {
				c.ends = c.ends[:len(c.ends)-1]
				end := uint32(0)
				if len(c.ends) > 0 {
					end = c.ends[len(c.ends)-1]
				}
				c.data = c.data[:end]
			} else {
				c.fixed = c.fixed[:len(c.fixed)-1]
			}
		}
		if c.leaf.MaxRep == 0 || c.reps[c.n] == 0 {
			drop--
		}
		if c.leaf.MaxRep > 0 {
			c.reps = c.reps[:c.n]
		}
	}
}

// clear empties the open page, keeping its memory.
func (c *Column) clear() {
	c.n = 0
	c.defs, c.reps, c.fixed, c.data, c.ends = c.defs[:0], c.reps[:0], c.fixed[:0], c.data[:0], c.ends[:0]
}

// trim gives up memory that only an unusual file needs.
func (c *Column) trim() {
	const most = 2 << 20
	if cap(c.data) > most {
		c.data = nil
	}
	if cap(c.fixed) > most/8 {
		c.fixed = nil
	}
	if cap(c.ends) > most/4 {
		c.ends = nil
	}
	if cap(c.defs) > most {
		c.defs = nil
	}
	if cap(c.reps) > most {
		c.reps = nil
	}
	if cap(c.chunk.pages) > most {
		c.chunk.pages = nil
	}
	c.chunk.dict.trim()
}
