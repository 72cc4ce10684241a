package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// OIDs of built-in types that are written in a form of their own.
const (
	oidBool        = 16
	oidBytea       = 17
	oidChar        = 18
	oidName        = 19
	oidInt8        = 20
	oidInt2        = 21
	oidInt4        = 23
	oidText        = 25
	oidOID         = 26
	oidJSON        = 114
	oidXML         = 142
	oidPoint       = 600
	oidCIDR        = 650
	oidFloat4      = 700
	oidFloat8      = 701
	oidMacaddr8    = 774
	oidMoney       = 790
	oidMacaddr     = 829
	oidInet        = 869
	oidBpchar      = 1042
	oidVarchar     = 1043
	oidDate        = 1082
	oidTime        = 1083
	oidTimestamp   = 1114
	oidTimestamptz = 1184
	oidInterval    = 1186
	oidTimetz      = 1266
	oidBit         = 1560
	oidVarbit      = 1562
	oidNumeric     = 1700
	oidUUID        = 2950
	oidTsvector    = 3614
	oidJSONB       = 3802
)

// pgType is a row of pg_type.
type pgType struct {
	oid    uint32
	name   string
	kind   byte // b base, e enum, d domain, c composite, r range, m multirange, p pseudo
	elem   uint32
	array  bool
	delim  byte
	base   uint32 // domain
	typmod int32  // domain
	labels []string
}

// typeRegistry knows the server's types. It belongs to one goroutine.
type typeRegistry struct{ byOID map[uint32]*pgType }

const typesQuery = `SELECT t.oid, t.typname, t.typtype::text, t.typelem, (t.typcategory = 'A' AND t.typelem <> 0 AND t.typlen = -1), t.typdelim::text,
  t.typbasetype, t.typtypmod, ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder)
FROM pg_type t `

// load reads the types that match where.
func (r *typeRegistry) load(ctx context.Context, c *pgx.Conn, where string, args ...any) error {
	rows, err := c.Query(ctx, typesQuery+where, args...)
	if err != nil {
		return fmt.Errorf("read types: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var t pgType
		var kind, delim string
		if err := rows.Scan(&t.oid, &t.name, &kind, &t.elem, &t.array, &delim, &t.base, &t.typmod, &t.labels); err != nil {
			return fmt.Errorf("read types: %w", err)
		}
		t.kind, t.delim = kind[0], delim[0]
		r.byOID[t.oid] = &t
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read types: %w", err)
	}
	return nil
}

// loadAll reads all types that columns can have but the row types of tables, which are many and of no use.
func (r *typeRegistry) loadAll(ctx context.Context, c *pgx.Conn) error {
	r.byOID = map[uint32]*pgType{}
	return r.load(ctx, c, `WHERE t.typtype IN ('b','e','d','r','m') AND NOT (t.typelem <> 0 AND EXISTS
	  (SELECT 1 FROM pg_type e WHERE e.oid = t.typelem AND e.typtype = 'c'))`)
}

// refresh reads again the types of oids that the server does not have built in, with what they are made of: they may be new or changed.
func (r *typeRegistry) refresh(ctx context.Context, c *pgx.Conn, oids []uint32) error {
	for range 8 { // domains over domains over arrays ...
		var want []uint32
		for _, o := range oids {
			if o >= 16384 || r.byOID[o] == nil {
				want = append(want, o)
			}
		}
		if len(want) == 0 {
			return nil
		}
		if err := r.load(ctx, c, "WHERE t.oid = ANY($1::oid[])", want); err != nil {
			return err
		}
		oids = oids[:0:0]
		for _, o := range want {
			if t := r.byOID[o]; t != nil {
				if t.base != 0 {
					oids = append(oids, t.base)
				}
				if t.array {
					oids = append(oids, t.elem)
				}
			}
		}
	}
	return nil
}

// resolve follows domains to the type and modifier they stand for.
func (r *typeRegistry) resolve(oid uint32, typmod int32) (*pgType, int32) {
	t := r.byOID[oid]
	for range 32 {
		if t == nil || t.kind != 'd' {
			break
		}
		if typmod < 0 {
			typmod = t.typmod
		}
		t = r.byOID[t.base]
	}
	return t, typmod
}
