-- What a delete tells of columns that may not be null, and odd values; held against Debezium like golden.sql.
CREATE SCHEMA g;
CREATE EXTENSION IF NOT EXISTS hstore;
CREATE EXTENSION IF NOT EXISTS vector;
CREATE EXTENSION IF NOT EXISTS ltree;
CREATE TYPE g.mood AS ENUM ('sad', 'ok');
CREATE TABLE g.nn (id int PRIMARY KEY, si smallint NOT NULL, bi bigint NOT NULL, r real NOT NULL, d double precision NOT NULL, n5_2 numeric(5,2) NOT NULL, n numeric NOT NULL, mo money NOT NULL, b boolean NOT NULL,
  t text NOT NULL, by bytea NOT NULL, j jsonb NOT NULL, u uuid NOT NULL, e g.mood NOT NULL, hs hstore NOT NULL, da date NOT NULL, ti time NOT NULL, t3 time(3) NOT NULL, tz timetz NOT NULL, ts timestamp NOT NULL, tstz timestamptz NOT NULL, iv interval NOT NULL,
  bi3 bit(3) NOT NULL, b1 bit NOT NULL, p point NOT NULL, ine inet NOT NULL, rn int4range NOT NULL, ia int[] NOT NULL, ta text[] NOT NULL, o oid NOT NULL);
CREATE TABLE g.odd (id int PRIMARY KEY, n numeric, d date, ea g.mood[], neg numeric(3,-2), fdef int DEFAULT floor(5.5), ddef date DEFAULT CURRENT_DATE, udef uuid DEFAULT gen_random_uuid(), tdef text DEFAULT upper('x'), tzdef timestamptz DEFAULT now(), ctdef timestamptz DEFAULT CURRENT_TIMESTAMP, ctn timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP, bdef boolean DEFAULT (1 = 1), ndef numeric(5,2) DEFAULT random(), jdef jsonb DEFAULT jsonb_build_object(), edef text DEFAULT E'a\nb', cdef char(3) DEFAULT 'x', vdef text DEFAULT 'a' || 'b', lt timestamp DEFAULT LOCALTIMESTAMP);
CREATE TABLE g.vec (id int PRIMARY KEY, v vector(3), h halfvec(3), s sparsevec(5), vn vector);
CREATE TABLE g.upd (id int PRIMARY KEY, n numeric NOT NULL, big text NOT NULL, tv tsvector, u uuid[], na numeric[], da date[], ba bigint[]);
