package parquetfile

import "encoding/binary"

// appendHybrid writes vs, each of which fits into width bits, in Parquet's hybrid of run lengths and bit packing: runs of at least eight
// equal values as a run, what is between them packed in groups of eight.
func appendHybrid[T uint8 | uint32](dst []byte, vs []T, width int) []byte {
	start := 0 // of what is to be packed; always a multiple of eight values before i
	for i := 0; i < len(vs); {
		v, end := vs[i], i+1
		for end < len(vs) && vs[end] == v {
			end++
		}
		// Packed groups are of eight: a run gives to the group before it what that lacks.
		if lack := -(i - start) & 7; lack > 0 && end-i > lack {
			i += lack
		} else if lack > 0 {
			i = end
			continue
		}
		if end-i < 8 {
			i = end
			continue
		}
		dst = appendPacked(dst, vs[start:i], width)
		dst = binary.AppendUvarint(dst, uint64(end-i)<<1)
		for k := 0; k < width; k += 8 {
			dst = append(dst, byte(uint32(v)>>k))
		}
		start, i = end, end
	}
	return appendPacked(dst, vs[start:], width)
}

// appendPacked writes a bit-packed run, filled up with zeros to whole groups.
func appendPacked[T uint8 | uint32](dst []byte, vs []T, width int) []byte {
	if len(vs) == 0 {
		return dst
	}
	groups := (len(vs) + 7) / 8
	dst = binary.AppendUvarint(dst, uint64(groups)<<1|1)
	end := len(dst) + groups*width
	var acc uint64
	bits := 0
	for _, v := range vs {
		acc |= uint64(v) << bits
		for bits += width; bits >= 8; bits -= 8 {
			dst = append(dst, byte(acc))
			acc >>= 8
		}
	}
	if bits > 0 {
		dst = append(dst, byte(acc))
	}
	for len(dst) < end {
		dst = append(dst, 0)
	}
	return dst
}
