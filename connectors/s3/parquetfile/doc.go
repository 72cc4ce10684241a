// Package parquetfile writes Parquet files column by column.
//
// The library (parquet-go) stays the authority on the format: schemas are made from its nodes, headers and footers are its structs in its
// Thrift encoding, compression is its codecs. What this package does itself is the part that a row passes: a value goes as it is to the
// end of a typed slice of its column, and all that costs more (dictionary, bounds, levels, packing, compression) is done once a page, in
// loops over one column. A row costs no allocation.
//
// # The invariant
//
// Between two calls of [Writer.EndRow] all columns hold the same number of rows, in closed pages and the open one together. Pages close at
// ends of rows only. So a row that turns out to be bad half way is taken back from the open pages by [Writer.Undo], and every page begins
// with a row, which the page index demands.
//
// # What files look like
//
// As parquet-mr's with its defaults, which Confluent's sink writes: data pages v1, dictionaries for all types but booleans where they
// pay (that is where dictionary and indices are smaller than the values; else the column is plain), page checksums, bounds and null counts
// of column chunks, column and offset index. Bounds of decimals are compared as numbers, those of floats are left out where there is a NaN.
//
// Files:
//
//	column.go      a column's open page
//	dictionary.go  distinct values and their indices
//	bounds.go      least and greatest values by type
//	levels.go      the RLE and bit-packing hybrid
//	page.go        closing a page
//	writer.go      rows, row groups, footer
package parquetfile
