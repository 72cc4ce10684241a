package story

import (
	"context"
	"fmt"
	"strings"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/jackc/pgx/v5"
)

// Orders is the PostgreSQL table of the demo.
func Orders(topicPrefix string) Table {
	return Table{Name: "shop.orders", Topic: topicPrefix + ".shop.orders", Key: "id", Columns: []Column{
		{Name: "id", Kind: Int},
		{Name: "ref", Kind: Text},
		{Name: "customer", Kind: Text},
		{Name: "quantity", Kind: Int},
		{Name: "amount", Kind: Decimal, Scale: 2},
		{Name: "rating", Kind: Double},
		{Name: "paid", Kind: Bool, SQL: "paid::text"},
		{Name: "placed_at", Kind: Zoned, SQL: `to_char(placed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`},
		{Name: "ship_on", Kind: Int, SQL: "(ship_on - DATE '1970-01-01')::text"},
		{Name: "attrs", Kind: JSON},
		{Name: "note", Kind: Text},
	}}
}

// OrdersDDL makes the table of Orders.
const OrdersDDL = `CREATE SCHEMA IF NOT EXISTS shop;
CREATE TABLE shop.orders (
	id        bigint PRIMARY KEY,
	ref       uuid NOT NULL,
	customer  text NOT NULL,
	quantity  integer NOT NULL,
	amount    numeric(12,2) NOT NULL,
	rating    double precision,
	paid      boolean NOT NULL DEFAULT false,
	placed_at timestamptz NOT NULL,
	ship_on   date,
	attrs     jsonb,
	note      text
)`

// InsertOrders inserts orders first..first+n-1 in one statement: one transaction of n changes.
func InsertOrders(ctx context.Context, c *pgx.Conn, first, n int) error {
	_, err := c.Exec(ctx, `INSERT INTO shop.orders
		SELECT i, md5(i::text)::uuid, 'customer ' || i % 1000, i % 9 + 1, (i % 100000)::numeric / 100 - 50, CASE WHEN i % 5 = 0 THEN NULL ELSE (i % 50) / 8.0 END,
			i % 3 = 0, TIMESTAMPTZ '2026-01-01 00:00:00Z' + i * INTERVAL '1 second 37 microseconds',
			CASE WHEN i % 4 = 0 THEN NULL ELSE DATE '2026-01-01' + (i % 365)::int END,
			CASE WHEN i % 2 = 0 THEN jsonb_build_object('tag', 't' || i % 7, 'n', i) END,
			CASE WHEN i % 10 = 0 THEN 'note – ünïcode ' || i END
		FROM generate_series($1::bigint, $2::bigint) i`, first, first+n-1)
	return err
}

// UpdateOrders changes orders first..first+n-1 in one statement.
func UpdateOrders(ctx context.Context, c *pgx.Conn, first, n int) error {
	_, err := c.Exec(ctx, `UPDATE shop.orders SET paid = NOT paid, amount = amount + 1, note = 'paid ' || id WHERE id >= $1 AND id < $2`, first, first+n)
	return err
}

// DeleteOrders deletes orders first..first+n-1 in one statement.
func DeleteOrders(ctx context.Context, c *pgx.Conn, first, n int) error {
	_, err := c.Exec(ctx, `DELETE FROM shop.orders WHERE id >= $1 AND id < $2`, first, first+n)
	return err
}

// Payments is the MySQL table of the demo.
func Payments(topicPrefix string) Table {
	return Table{Name: "shop.payments", Topic: topicPrefix + ".shop.payments", Key: "id", Columns: []Column{
		{Name: "id", Kind: Int},
		{Name: "order_id", Kind: Int},
		{Name: "method", Kind: Text},
		{Name: "amount", Kind: Decimal, Scale: 2},
		{Name: "fee", Kind: Double},
		{Name: "made", Kind: Int, SQL: "CAST(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', made) AS CHAR)"},
		{Name: "seen", Kind: Zoned, SQL: "DATE_FORMAT(seen, '%Y-%m-%dT%H:%i:%s.%fZ')"},
		{Name: "units", Kind: Int},
		{Name: "memo", Kind: Text},
	}}
}

// PaymentsDDL makes the table of Payments.
const PaymentsDDL = `CREATE TABLE shop.payments (
	id       BIGINT PRIMARY KEY,
	order_id BIGINT NOT NULL,
	method   ENUM('card','cash','wire') NOT NULL,
	amount   DECIMAL(12,2) NOT NULL,
	fee      DOUBLE,
	made     DATETIME(6) NOT NULL,
	seen     TIMESTAMP(3) NOT NULL,
	units    INT UNSIGNED NOT NULL,
	memo     VARCHAR(200)
) CHARACTER SET utf8mb4`

// InsertPayments inserts payments first..first+n-1 in one statement.
func InsertPayments(c *client.Conn, first, n int) error {
	var sb strings.Builder
	sb.WriteString("INSERT INTO shop.payments VALUES ")
	for i := first; i < first+n; i++ {
		if i > first {
			sb.WriteByte(',')
		}
		fee, memo := "NULL", "NULL"
		if i%5 != 0 {
			fee = fmt.Sprintf("%d.%d", i%90, i%4*25)
		}
		if i%10 != 0 {
			memo = fmt.Sprintf("'mémo – %d'", i)
		}
		fmt.Fprintf(&sb, "(%d,%d,'%s',%d.%02d,%s,'2026-%02d-%02d %02d:%02d:%02d.%06d','2026-%02d-%02d 12:%02d:%02d.%03d',%d,%s)",
			i, i*3, []string{"card", "cash", "wire"}[i%3], i%99999-5000, i%100, fee, i%12+1, i%28+1, i%24, i%60, i%60, i%1000000,
			i%12+1, i%28+1, i%60, i%60, i%1000, uint32(i)*2654435761, memo)
	}
	_, err := c.Execute(sb.String())
	return err
}

// UpdatePayments changes payments first..first+n-1 in one statement.
func UpdatePayments(c *client.Conn, first, n int) error {
	_, err := c.Execute(fmt.Sprintf("UPDATE shop.payments SET amount = amount + 1, method = 'wire', memo = CONCAT('upd ', id) WHERE id >= %d AND id < %d", first, first+n))
	return err
}

// DeletePayments deletes payments first..first+n-1 in one statement.
func DeletePayments(c *client.Conn, first, n int) error {
	_, err := c.Execute(fmt.Sprintf("DELETE FROM shop.payments WHERE id >= %d AND id < %d", first, first+n))
	return err
}
