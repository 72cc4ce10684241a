package postgres

import (
	"github.com/moldau-io/moldau/connectors/cdc"
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
)

var messageKeySchema = data.NewStruct().Name("io.debezium.connector.postgresql.MessageKey").Version(1).
	Field("prefix", data.OptionalStringSchema).Build()

// messageSchemas are the schemas of logical decoding messages, which depend on how binary data are written.
type messageSchemas struct{ block, value *data.Schema }

func newMessageSchemas(m cdc.BinaryMode) messageSchemas {
	block := data.NewStruct().Name("io.debezium.connector.postgresql.Message").Version(1).
		Field("prefix", data.OptionalStringSchema).Field("content", m.Schema().Optional().Build()).Build()
	return messageSchemas{block, data.NewStruct().Name("io.debezium.connector.postgresql.MessageValue").Version(1).
		Field("op", data.StringSchema).Field("ts_ms", data.OptionalInt64Schema).Field("source", SourceSchema).
		Field("transaction", cdc.TransactionBlock).Field("message", block).Build()}
}

// message writes what pg_logical_emit_message sent. One outside of a transaction is a position of its own: all commits before it were
// delivered.
func (a *assembler) message(m *message, lsn uint64, nanos int64, size int) error {
	transactional := m.flags&1 != 0
	if transactional {
		if !a.inTx {
			return errNoTransaction
		}
		if a.counted(lsn) {
			return nil
		}
	} else if lsn < a.lastEnd {
		return nil
	}
	if !a.cfg.messagePrefixes.Includes(string(m.prefix)) {
		return nil
	}
	ar := &a.em.Arena
	saved := a.lsn
	if !transactional {
		a.lsn, a.micros = lsn, nanos/1000
	}
	src := a.sourceBlock(&relation{source: a.cfg.sourceTemplate("", "")})
	prefix := ar.String(m.prefix)
	v, msg, key := ar.Values(5), ar.Values(2), ar.Values(1)
	msg[0], msg[1] = prefix, a.cfg.Binary.Value(ar, ar.Copy(m.content))
	v[0], v[1], v[2], v[4] = cdc.OpMessage.Value(), data.Int64(nanos/1e6), ar.Struct(SourceSchema, src), ar.Struct(a.msgs.block, msg)
	if transactional {
		v[3] = a.tx.Event(ar, cdc.TableID{Table: "message"})
	}
	key[0] = prefix
	rec := plugins.SourceRecord{Topic: a.cfg.Topics.Named("message"), Partition: plugins.NoPartition, Timestamp: plugins.NoTimestamp,
		KeySchema: messageKeySchema, Key: ar.Struct(messageKeySchema, key), ValueSchema: a.msgs.value, Value: ar.Struct(a.msgs.value, v)}
	if transactional {
		from := len(a.out.Records)
		a.out.Records = append(a.out.Records, rec)
		a.out.Hold(from, a.here(msgMessage), size)
		return nil
	}
	a.lsn = saved
	if a.skip != nil { // see idle
		a.out.Add(rec, nil, size)
		return nil
	}
	a.lastEnd = lsn + 1
	o := a.offsets.New()
	*o = offset{lsnCommit: a.lastEnd, lsn: a.lastEnd, micros: nanos / 1000, kind: kindNames[msgMessage]}
	a.out.Add(rec, o, size)
	return nil
}
