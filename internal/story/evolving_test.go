package story

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	itemsFirst    = 1500 // rows that the snapshot finds
	itemsPerBatch = 25
	batchesPerEra = 12
	wide          = 3_000_000_000 // quantities, and ids when the key is widened, of the last era do not fit 32 bits
)

// items is a table that lives through four eras: as it was made, with a column added, with a column dropped, with columns widened.
//
// Every ALTER TABLE also changes the default of the column era, atomically, and every change that is made to a row sets era to its
// default. So the database itself can tell in which shape it last wrote each row, which is the shape that sinks hold: a row that was
// not touched since has neither lost the dropped column there nor got the new one.
type items struct {
	table string // as SQL names it
	// session opens a connection; its exec runs a statement and tells how many rows it changed.
	session func(ctx context.Context) (exec func(sql string) (int, error), end func(), err error)
	alters  [3]string // what makes era 2, 3 and 4
	// wideKey says that the last ALTER widens the primary key too, and with it the bytes of record keys: only a topic of one partition
	// keeps the changes of a row in order then.
	wideKey bool

	changes, deletes int // committed, with the first rows; complete once live returned
}

// itemsColumns are the columns in which source and sinks are compared; stamp gives the column made as an instant in text.
func itemsColumns(stamp string) []Column {
	return []Column{
		{Name: "id", Kind: Int},
		{Name: "era", Kind: Int},
		{Name: "name", Kind: Text},
		{Name: "qty", Kind: Int},
		{Name: "price", Kind: Decimal, Scale: 2},
		{Name: "code", Kind: Text},
		{Name: "made", Kind: Zoned, SQL: stamp},
		{Name: "added", Kind: Text, SQL: "CASE WHEN era >= 2 THEN added END"},
		{Name: "gone", Kind: Text, SQL: fmt.Sprintf("CASE WHEN era < 3 THEN CASE WHEN id <= %d THEN CONCAT('old ', id) ELSE 'going' END END", itemsFirst)},
	}
}

// insert is a statement that inserts rows first..first+n-1 in the shape of an era.
func (it *items) insert(first, n, era int) string {
	var sb strings.Builder
	sb.WriteString("INSERT INTO " + it.table + " (id, name, qty, price, code, made")
	switch era {
	case 0:
		sb.WriteString(", gone")
	case 2, 3, 4:
		sb.WriteString(", added")
	}
	sb.WriteString(") VALUES ")
	for i := first; i < first+n; i++ {
		if i > first {
			sb.WriteByte(',')
		}
		code := "NULL"
		if i%4 != 0 {
			code = fmt.Sprintf("'c%d'", i%10000)
		}
		qty := i % 1000
		if era == 4 {
			qty += wide
			code = fmt.Sprintf("'a code that is longer, %d'", i)
		}
		fmt.Fprintf(&sb, "(%d,'nämé – %d',%d,%d.%02d,%s,'2026-%02d-%02d %02d:%02d:%02d.%06d'", i, i, qty, i%5000-2000, i%100, code,
			i%12+1, i%28+1, i%24, i%60, i%60, i*37%1000000)
		switch {
		case era == 0:
			fmt.Fprintf(&sb, ",'old %d'", i)
		case era >= 2:
			fmt.Fprintf(&sb, ",'added %d'", i)
		}
		sb.WriteByte(')')
	}
	return sb.String()
}

// make makes the table's first rows.
func (it *items) make(ctx context.Context, ddl ...string) error {
	exec, end, err := it.session(ctx)
	if err != nil {
		return err
	}
	defer end()
	for _, q := range append(ddl, it.insert(1, itemsFirst, 0)) {
		if _, err := exec(q); err != nil {
			return fmt.Errorf("%.80s: %w", q, err)
		}
	}
	it.changes += itemsFirst
	return nil
}

// live changes rows through all eras, from one connection, while another alters the table under it.
func (it *items) live(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	write, end, err := it.session(ctx)
	require.NoError(t, err)
	defer end()
	alter, endAlter, err := it.session(ctx)
	require.NoError(t, err)
	defer endAlter()

	next, oldest := itemsFirst+1, 1
	for era := 1; era <= 4; era++ {
		if era == 4 && it.wideKey {
			next = wide + 1
		}
		// Until the ALTER that ends this era is over the writer speaks the era's own SQL, which both shapes understand.
		var over atomic.Bool
		altered := make(chan error, 1)
		over.Store(era == 4)
		for batch := 0; batch < batchesPerEra || !over.Load(); batch++ {
			require.NoError(t, ctx.Err())
			if batch == batchesPerEra/2 && era < 4 {
				go func() {
					_, err := alter(it.alters[era-1])
					altered <- err
					over.Store(true)
				}()
			}
			set := ""
			if era >= 2 {
				set = fmt.Sprintf(", added = 'changed %d'", batch)
			}
			more := 1
			if era == 4 {
				set += ", code = 'changed to a longer code'"
				more = wide
			}
			fail := func(err error) { require.NoErrorf(t, err, "era %d batch %d", era, batch) }
			run := func(sql string) int {
				n, err := write(sql)
				fail(err)
				it.changes += n
				return n
			}
			transaction := batch%2 == 1
			if transaction {
				_, err := write("BEGIN")
				fail(err)
			}
			run(it.insert(next, itemsPerBatch, era))
			run(fmt.Sprintf("UPDATE %s SET era = DEFAULT, qty = qty + %d, price = price + 0.25%s WHERE id >= %d AND id < %d", it.table, more, set, oldest+100, oldest+100+itemsPerBatch))
			run(fmt.Sprintf("UPDATE %s SET era = DEFAULT, name = 'newest'%s WHERE id >= %d AND id < %d", it.table, set, next, next+itemsPerBatch/2))
			it.deletes += run(fmt.Sprintf("DELETE FROM %s WHERE id >= %d AND id < %d", it.table, oldest, oldest+4))
			if transaction {
				_, err := write("COMMIT")
				fail(err)
			}
			next += itemsPerBatch
			oldest += 7
		}
		if era < 4 {
			require.NoErrorf(t, <-altered, "%s", it.alters[era-1])
		}
	}
}
